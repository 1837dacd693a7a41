"""Minutes from vendors to rows, and the longer bars made of them."""
