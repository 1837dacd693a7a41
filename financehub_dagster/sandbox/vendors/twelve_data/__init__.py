"""Twelve Data in the sandbox."""
