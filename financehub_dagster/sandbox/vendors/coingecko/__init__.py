"""CoinGecko in the sandbox."""
