"""Technical indicators: a declared list of columns (`columns`, light) over one engine (`engine`, imported lazily)."""
