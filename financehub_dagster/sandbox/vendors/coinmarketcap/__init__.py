"""CoinMarketCap in the sandbox."""
