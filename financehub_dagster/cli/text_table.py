"""Tables of text that fit the terminal.

Belongs here: laying cells out in a given width. Does not belong here: what a cell says, and printing.

A table that is too wide wraps its texts between words; where that is not enough, the first column becomes a line of its
own above its rows; where even that is too wide, each row becomes a block of one line per column. Nothing is cut off.
"""

import unicodedata
from collections.abc import Iterator, Sequence
from textwrap import wrap

GAP = 2
"""Spaces between columns."""
LONGEST_WORD = 20
"""A longer word is broken rather than making its column wider than the others leave room for."""

type Rows = Sequence[Sequence[str]]


def lay_out(columns: Sequence[str], rows: Rows, numeric: Sequence[bool], width: int) -> list[str]:
    """The lines of a table within `width` characters; numeric columns are right-aligned and never wrapped."""
    headers = [name.replace("_", " ") for name in columns]
    widths = _widths(headers, rows, numeric, width)
    if widths is not None:
        return [*_head(headers, numeric, widths), *_body(rows, numeric, widths)]
    widths = _widths(headers[1:], [row[1:] for row in rows], numeric[1:], width)
    if widths is not None:
        return [*_head(headers[1:], numeric[1:], widths), *_grouped(rows, numeric, widths)]
    return list(_blocks(headers, rows, width))


def _widths(headers: Sequence[str], rows: Rows, numeric: Sequence[bool], width: int) -> list[int] | None:
    """Columns' widths that add up to `width` at most; None where words and numbers need more."""
    available = width - GAP * (len(headers) - 1)
    cells = [[row[index] for row in rows] for index in range(len(headers))]
    wanted = [max(map(_length, [name, *own])) for name, own in zip(headers, cells, strict=True)]
    least = [
        max(_longest_word(name), max((_length(cell) if number else _longest_word(cell) for cell in own), default=0))
        for name, own, number in zip(headers, cells, numeric, strict=True)
    ]
    if sum(least) > available:
        return None
    widths = least
    while sum(widths) < min(available, sum(wanted)):
        narrowest = min((i for i in range(len(widths)) if widths[i] < wanted[i]), key=lambda i: widths[i])
        widths[narrowest] += 1
    return widths


def _head(headers: Sequence[str], numeric: Sequence[bool], widths: Sequence[int]) -> list[str]:
    line = "─" * (sum(widths) + GAP * (len(widths) - 1))
    return [*_row(headers, numeric, widths), line]


def _body(rows: Rows, numeric: Sequence[bool], widths: Sequence[int]) -> list[str]:
    return [line for row in rows for line in _row(row, numeric, widths)]


def _grouped(rows: Rows, numeric: Sequence[bool], widths: Sequence[int]) -> Iterator[str]:
    """Each value of the first column above its rows; a blank one belongs to the one before."""
    heading = None
    for first, *rest in rows:
        if first and first != heading:
            heading = first
            yield first
        yield from _row(rest, numeric[1:], widths)


def _row(cells: Sequence[str], numeric: Sequence[bool], widths: Sequence[int]) -> list[str]:
    wrapped = [
        [cell] if _length(cell) <= width else wrap(cell, width) for cell, width in zip(cells, widths, strict=True)
    ]
    lines = []
    for number in range(max(map(len, wrapped), default=0)):
        parts = [column[number] if number < len(column) else "" for column in wrapped]
        lines.append((" " * GAP).join(map(_aligned, parts, numeric, widths)).rstrip())
    return lines


def _blocks(headers: Sequence[str], rows: Rows, width: int) -> Iterator[str]:
    names = max(map(_length, headers))
    for number, row in enumerate(rows):
        if number:
            yield ""
        for name, cell in zip(headers, row, strict=True):
            if not cell:
                continue
            indent = " " * (names + GAP)
            text = f"{name:<{names}}{' ' * GAP}{cell}"
            yield from [text] if _length(text) <= width else wrap(text, width, subsequent_indent=indent)


def _aligned(text: str, numeric: bool, width: int) -> str:
    space = " " * (width - _length(text))
    return space + text if numeric else text + space


def _longest_word(text: str) -> int:
    return min(max(map(_length, text.split()), default=0), LONGEST_WORD)


def _length(text: str) -> int:
    """Columns of a terminal that the text takes: ideographs take two."""
    return len(text) if text.isascii() else sum(1 + (unicodedata.east_asian_width(char) in "WF") for char in text)
