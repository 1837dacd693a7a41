"""The archive of intraday bars, on real partitions and real files."""
