"""A page as one HTML file that needs nothing else: style and pictures are in it, and it runs and fetches nothing.

Belongs here: elements and their style. Does not belong here: what is said.
"""

import re
from collections.abc import Iterator
from xml.etree.ElementTree import Element, SubElement, tostring

from financehub_dagster.serving.journal.blocks import Block, Cell, Facts, Grid, Heading, Items, Page, Paragraph, Picture
from financehub_dagster.serving.journal.markdown import data_url

_UNPRINTABLE = re.compile(r"[^\t\n\x20-\x7e\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What no HTML may have."""
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
_TONES = {1: "gain", -1: "loss", 0: ""}

STYLE = """
:root { color-scheme: light; --ink: #1d2733; --soft: #66727f; --line: #e3e7eb; --gain: #1b7f4b; --loss: #b3261e; }
* { box-sizing: border-box; }
body { margin: 0; background: #f4f6f8; color: var(--ink);
  font: 15px/1.5 system-ui, "Segoe UI", "DejaVu Sans", sans-serif; }
main { max-width: 1080px; margin: 24px auto; padding: 28px 36px 36px; background: #fff; border-radius: 10px;
  box-shadow: 0 1px 3px rgb(0 0 0 / 12%); }
h1 { margin: 0; font-size: 26px; line-height: 1.25; overflow-wrap: anywhere; }
h2 { margin: 36px 0 10px; font-size: 18px; }
p { margin: 6px 0; color: var(--soft); }
p.notice { margin: 14px 0; padding: 8px 12px; background: #fff5dd; border-left: 4px solid #d99a00; color: #5c4300; }
dl { display: flex; flex-wrap: wrap; gap: 12px; margin: 20px 0; }
dl div { flex: 1 1 150px; padding: 12px 16px; border: 1px solid var(--line); border-radius: 8px; }
dt { color: var(--soft); font-size: 13px; }
dd { margin: 0; font-size: 22px; font-variant-numeric: tabular-nums; white-space: nowrap; }
dd small, td small { display: block; color: var(--soft); font-size: 12px; font-weight: normal; }
.scroll { overflow-x: auto; }
table { width: 100%; border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: 6px 10px; border-bottom: 1px solid var(--line); text-align: left; vertical-align: top; }
th { color: var(--soft); font-size: 13px; font-weight: 600; white-space: nowrap; border-bottom: 2px solid #cfd6dc; }
.number { text-align: right; white-space: nowrap; }
td.name { max-width: 320px; overflow-wrap: anywhere; }
tfoot td { border-bottom: 0; border-top: 2px solid #cfd6dc; font-weight: 600; }
.gain, .gain small { color: var(--gain); } .loss, .loss small { color: var(--loss); }
figure { margin: 24px 0 14px; } figcaption { color: var(--soft); font-size: 13px; font-weight: 600; }
img { display: block; width: 100%; margin: 4px 0; }
ul { margin: 6px 0; padding-left: 22px; color: var(--soft); }
@media (max-width: 700px) { main { margin: 0; padding: 18px; border-radius: 0; } }
@media print { body { background: #fff; } main { margin: 0; padding: 0; box-shadow: none; max-width: none; } }
"""


def rendered(page: Page) -> str:
    """The page as a document."""
    root = Element("html", lang="en")
    head = SubElement(root, "head")
    SubElement(head, "meta", charset="utf-8")
    SubElement(head, "meta", {"http-equiv": "Content-Security-Policy", "content": _POLICY})
    SubElement(head, "meta", name="viewport", content="width=device-width, initial-scale=1")
    _add(head, "title", page.title)
    _add(head, "style", STYLE)
    main = SubElement(SubElement(root, "body"), "main")
    _add(main, "h1", page.title)
    for block in page.blocks:
        main.extend(_elements(block))
    return "<!DOCTYPE html>\n" + tostring(root, encoding="unicode", method="html") + "\n"


def _add(parent: Element, tag: str, text: str, kind: str = "") -> Element:
    made = SubElement(parent, tag, {"class": kind} if kind else {})
    made.text = _UNPRINTABLE.sub("\N{REPLACEMENT CHARACTER}", text)
    return made


def _elements(block: Block) -> Iterator[Element]:
    within = Element("div")
    match block:
        case Heading(text):
            _add(within, "h2", text)
        case Paragraph(text, notice):
            _add(within, "p", text, "notice" if notice else "")
        case Items(texts):
            made = SubElement(within, "ul")
            for text in texts:
                _add(made, "li", text)
        case Facts(items):
            made = SubElement(within, "dl")
            for label, cell in items:
                fact = SubElement(made, "div")
                _add(fact, "dt", label)
                _cell(fact, "dd", cell)
        case Picture():
            made = SubElement(within, "figure")
            _add(made, "figcaption", block.words)
            SubElement(made, "img", src=data_url(block.svg), alt="")
        case Grid():
            within.append(_table(block))
    yield from within


def _table(grid: Grid) -> Element:
    scroll = Element("div", {"class": "scroll"})
    table = SubElement(scroll, "table")
    kinds = ["name" if place < grid.texts else "number" for place in range(len(grid.columns))]
    head = SubElement(SubElement(table, "thead"), "tr")
    for name, kind in zip(grid.columns, kinds, strict=True):
        _add(head, "th", name, kind)
    parts = [("tbody", grid.rows)] + ([("tfoot", [grid.sums])] if grid.sums is not None else [])
    for tag, rows in parts:
        body = SubElement(table, tag)
        for row in rows:
            line = SubElement(body, "tr")
            for cell, kind in zip(row, kinds, strict=True):
                _cell(line, "td", cell, kind)
    return scroll


def _cell(parent: Element, tag: str, cell: Cell, kind: str = "") -> None:
    made = _add(parent, tag, cell.text, " ".join(filter(None, [kind, _TONES[cell.tone]])))
    if cell.under:
        _add(made, "small", cell.under)
