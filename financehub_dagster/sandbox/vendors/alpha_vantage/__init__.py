"""Alpha Vantage in the sandbox."""
