"""Reading from outside of Dagster: HTTP."""
