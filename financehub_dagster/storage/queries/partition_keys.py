"""How a partition, or a range of partitions, is written down where work is recorded: `first` or `first...last`.

Belongs here: the text. Does not belong here: Dagster's partitions, SQL. Every process that loads the code location
reads this, so nothing heavy is imported.
"""

RANGE = "..."
"""Stands between the first and the last partition of a range."""


def key_of(first: str, last: str) -> str:
    """The partition, or the range of partitions, from `first` to `last`."""
    return first if first == last else f"{first}{RANGE}{last}"


def ends_of(partition_key: str) -> tuple[str, str]:
    """The first and the last partition of what `key_of` wrote; both are empty for work without partitions."""
    first, _, last = partition_key.partition(RANGE)
    return first, last or first
