"""The ledger: what is stored, confirmed empty or missing of every instrument, and what to ask for next."""
