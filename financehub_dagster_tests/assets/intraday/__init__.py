"""Bars within the day, through the real parts."""
