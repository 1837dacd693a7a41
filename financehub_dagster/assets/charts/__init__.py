"""Charts in the metadata of materializations."""

PICTURES_TAG = "financehub/pictures"
"""A run with this tag and the value `none` draws nothing."""
