"""Tables of bars within the day, one file each."""
