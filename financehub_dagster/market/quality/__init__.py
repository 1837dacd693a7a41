"""Rules that rows must keep: of bars, of snapshots, of single values, of a series and between vendors."""
