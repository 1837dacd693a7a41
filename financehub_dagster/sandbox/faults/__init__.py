"""Faults on demand, and the control endpoint that sets them."""
