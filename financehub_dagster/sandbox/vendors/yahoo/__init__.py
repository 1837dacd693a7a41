"""Yahoo Finance in the sandbox."""
