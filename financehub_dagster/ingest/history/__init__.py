"""Daily bars from vendors to rows: asking, judging, restating, taking back and storing."""
