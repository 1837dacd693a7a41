"""A page as Markdown, with tables as GitHub and the webserver read them.

Belongs here: syntax, and keeping names from being read as such. Does not belong here: what is said.
"""

import base64
import re
from collections.abc import Iterator, Sequence

from financehub_dagster.serving.journal.blocks import Block, Cell, Facts, Grid, Heading, Items, Page, Paragraph, Picture

_SYNTAX = re.compile(r"([\\`*_{}\[\]<>#|~&])")


def rendered(page: Page, *, pictures: bool = True) -> str:
    """The page; pictures are data at its end, so that the text stays readable, or left out."""
    parts = [f"# {escaped(page.title)}"]
    drawn: list[Picture] = []
    for block in page.blocks:
        if isinstance(block, Picture):
            if pictures:
                drawn.append(block)
                parts += [f"*{escaped(block.words)}*", f"![{escaped(block.words)}][picture-{len(drawn)}]"]
        else:
            parts.append("\n".join(_lines(block)))
    parts += [f"[picture-{number}]: {data_url(each.svg)}" for number, each in enumerate(drawn, 1)]
    return "\n\n".join(parts) + "\n"


def escaped(text: str) -> str:
    """Text on one line that means nothing in Markdown."""
    return _SYNTAX.sub(r"\\\1", " ".join(text.split()))


def data_url(svg: bytes) -> str:
    """A drawing as an address that fetches nothing."""
    return f"data:image/svg+xml;base64,{base64.b64encode(svg).decode()}"


def _lines(block: Block) -> Iterator[str]:
    match block:
        case Heading(text):
            yield f"## {escaped(text)}"
        case Paragraph(text, notice):
            yield f"> **{escaped(text)}**" if notice else escaped(text)
        case Items(texts):
            yield from (f"- {escaped(text)}" for text in texts)
        case Facts(items):
            yield _row([label for label, _ in items])
            yield _row(["---:" for _ in items])
            yield _row([_text(cell) for _, cell in items])
        case Grid():
            yield from _table(block)


def _table(grid: Grid) -> Iterator[str]:
    yield _row([escaped(name) for name in grid.columns])
    yield _row([":---" if place < grid.texts else "---:" for place in range(len(grid.columns))])
    yield from (_row([_text(cell) for cell in row]) for row in grid.rows)
    if grid.sums is not None:
        yield _row([f"**{_text(cell)}**" if cell.text else "" for cell in grid.sums])


def _text(cell: Cell) -> str:
    """A second line stays on the same one: Markdown's tables have no other."""
    return escaped(f"{cell.text} ({cell.under})" if cell.under else cell.text)


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
