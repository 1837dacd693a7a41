"""One file per group of commands; each registers itself with the command tree."""
