"""Tables with a row for each session: bars, and what is computed from them."""
