"""One file per table: what it is made of, how it is partitioned, and a body of a few lines."""
