"""Daily bars as the data of backtesting engines: one module for each engine, and the reading they share."""
