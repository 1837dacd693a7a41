"""Reading from outside of Dagster: the Python API, exports, explanations, and HTTP."""
