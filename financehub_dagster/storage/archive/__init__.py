"""The archive: months of intraday bars in Parquet files, written before their partitions are dropped."""
