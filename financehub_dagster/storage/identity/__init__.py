"""What an instrument is called and how long it exists: delisting, renaming, and finding it by an earlier symbol."""
