"""Binance in the sandbox."""
