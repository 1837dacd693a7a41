"""The weekly journal of an account: what it holds, what that gained, and what became of signals."""
