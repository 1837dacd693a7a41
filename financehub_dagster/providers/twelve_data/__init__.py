"""Twelve Data."""
