"""What can go wrong with the archive; messages are one line, name the file or month and the remedy.

ArchiveError
├── MonthBusy    somebody reads or writes the month; nothing was changed, and the next clean-up tries again
└── BadArchive   a file cannot be read, or does not hold what was written to it
"""


class ArchiveError(Exception):
    """A month cannot be archived, restored or read."""


class MonthBusy(ArchiveError):
    """Somebody reads or writes the month; nothing was changed."""


class BadArchive(ArchiveError):
    """A file cannot be read, or does not hold what was written to it."""
