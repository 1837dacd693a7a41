"""Finnhub in the sandbox."""
