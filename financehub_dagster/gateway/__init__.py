"""The only code that talks to the network: sessions, limits, retries, breaker, redaction and typed errors."""
