"""The weekly journal of an account, read, drawn and written as Markdown and HTML."""
