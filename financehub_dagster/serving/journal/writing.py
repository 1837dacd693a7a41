"""Journals as files and as text: for the asset, and for the command.

Belongs here: putting reading, rendering and files together. Does not belong here: what they do.
"""

from dataclasses import dataclass
from pathlib import Path

from financehub_dagster.serving.journal import document, files, html, markdown
from financehub_dagster.serving.journal.reading import Journal
from financehub_dagster.settings import get_settings

MOST_SHOWN = 50
"""Rows of each table where a journal is shown beside others, as in the metadata of a run."""


@dataclass(frozen=True)
class Written:
    """A journal, its page in each format by suffix, and where that is written; no paths where it is not."""

    journal: Journal
    texts: dict[str, str]
    paths: dict[str, Path]

    def shortened(self) -> str:
        """The Markdown with at most MOST_SHOWN rows of each table."""
        longest = max(len(self.journal.account.positions), len(self.journal.signals), len(self.journal.outcomes))
        if longest <= MOST_SHOWN:
            return self.texts["md"]
        return markdown.rendered(document.page(self.journal, MOST_SHOWN))


def write(journal: Journal) -> Written:
    """The journal in files, unless it is as of an earlier time. Raises SettingsError, OSError."""
    page = document.page(journal)
    texts = {"md": markdown.rendered(page), "html": html.rendered(page)}
    keeps = journal.as_of is None
    return Written(
        journal, texts, files.write(get_settings().home, journal.folder, journal.week, texts) if keeps else {}
    )


def on_terminal(journal: Journal) -> str:
    """The Markdown without pictures."""
    return markdown.rendered(document.page(journal), pictures=False)
