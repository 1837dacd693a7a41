"""Limits, quotas, API keys, circuit breakers and usage, shared by all processes through the database."""
