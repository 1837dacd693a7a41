"""Minutes and longer bars: trading hours, the bars made of minutes, and which a tick asks for. No SQL, no network."""
