"""What a page is made of: headings, facts, tables, lists and pictures, which Markdown and HTML each write in their way.

Belongs here: shapes. Does not belong here: what is said in them (`document`), how they are written (`markdown`,
`html`).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property


@dataclass(frozen=True, slots=True)
class Cell:
    """Text; tone says whether a number is a gain (1), a loss (-1) or neither; under: a second line in small print."""

    text: str
    tone: int = 0
    under: str = ""


@dataclass(frozen=True, slots=True)
class Heading:
    """The title of a section."""

    text: str


@dataclass(frozen=True, slots=True)
class Paragraph:
    """Text; notice: that it must not be missed."""

    text: str
    notice: bool = False


@dataclass(frozen=True, slots=True)
class Facts:
    """Figures that are seen first, with what they are."""

    items: Sequence[tuple[str, Cell]]


@dataclass(frozen=True, slots=True)
class Grid:
    """A table: the names of columns, how many at the left are texts (the others numbers), rows, and a row of sums."""

    columns: Sequence[str]
    texts: int
    rows: Sequence[Sequence[Cell]]
    sums: Sequence[Cell] | None = None


@dataclass(frozen=True, slots=True)
class Items:
    """A list."""

    texts: Sequence[str]


@dataclass(frozen=True)
class Picture:
    """A drawing as SVG, made when it is first looked at, and what it shows in words."""

    words: str
    draw: Callable[[], bytes]

    @cached_property
    def svg(self) -> bytes:
        """The drawing."""
        return self.draw()


type Block = Heading | Paragraph | Facts | Grid | Items | Picture


@dataclass(frozen=True, slots=True)
class Page:
    """A whole page."""

    title: str
    blocks: Sequence[Block] = field(default=())
