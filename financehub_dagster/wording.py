"""How messages put numbers.

Belongs here: words that depend on a number. Does not belong here: whole messages, which stand where they are made.
"""


def counted(count: int, one: str, many: str | None = None) -> str:
    """A number and what is counted: 1 row, 2 rows; `many` where that is more than `one` with an s."""
    return f"{count:,} {one if count == 1 else many or f'{one}s'}"
