"""Reads: bars, instruments, news, counts, and what asset checks look at."""
