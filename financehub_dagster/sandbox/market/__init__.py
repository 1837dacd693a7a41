"""The sample market: recorded prices, generated ones beyond them, companies, coins and news."""
