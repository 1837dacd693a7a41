"""Charts in the metadata of materializations."""
