"""`python -m financehub_dagster.cli`: the console script without its wrapper."""

from financehub_dagster.cli import main

main()
