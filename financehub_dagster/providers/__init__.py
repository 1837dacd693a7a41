"""One file per vendor: its limits, capabilities, requests and parsing. Everything passes through the gateway."""
