"""The tables of the product: their columns, keys and meaning, as plain data that imports nothing heavy."""
