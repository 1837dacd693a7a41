"""Derived rows whose inputs changed, and writes whose materialization is not reported yet."""
