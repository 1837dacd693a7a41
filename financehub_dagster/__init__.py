"""FinanceHub on Dagster: market data as partitioned, checked and explained assets."""
