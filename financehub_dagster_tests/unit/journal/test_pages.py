"""Journals read from a real database, and their pages: figures, what is missing, names that are no markup, files."""

import base64
import re
from datetime import UTC, datetime
from html.parser import HTMLParser
from xml.etree import ElementTree

import pytest

from financehub_dagster.market.journal.week import named
from financehub_dagster.serving.errors import ReadError
from financehub_dagster.serving.journal.document import page
from financehub_dagster.serving.journal.files import folders
from financehub_dagster.serving.journal.reading import Journal, journals
from financehub_dagster.serving.journal.writing import MOST_SHOWN, on_terminal, write
from financehub_dagster.storage.database.engine import transaction
from financehub_dagster_tests.unit.journal.conftest import NASTY, SIGNALS

WEEK = named("2026-W48")
VOID = {"meta", "img"}


@pytest.fixture(scope="module")
def main(held) -> Journal:
    return journals(WEEK, only=["main"])[0]


@pytest.fixture(scope="module")
def nasty(held) -> Journal:
    return journals(WEEK, only=[NASTY])[0]


class Balanced(HTMLParser):
    """Collects elements, and fails at one that is closed in the wrong place."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""

    def handle_starttag(self, tag, attrs):
        self.seen.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


def parsed(text: str) -> Balanced:
    assert text.startswith("<!DOCTYPE html>")
    parser = Balanced()
    parser.feed(text)
    parser.close()
    assert parser.open == []
    return parser


def test_figures_are_those_worked_out_by_hand(main):
    """AAPL 40 x 2; SAP 8 x (12.50 x 1.08 - 12 x 1.10); BTC short 0.5, sold at 60,000 and at 61,000 now."""
    figures = {each.symbol: (each.value, each.week, each.total) for each in main.account.positions}
    assert figures == {
        "AAPL": (4080.00, 80.00, 80.00),
        "SAP": (108.00, 2.40, 24.00),
        "BTC": (-30_500.00, -500.00, -500.00),
        "GONE": (None, None, None),
    }
    assert (main.account.total("value"), main.account.total("week")) == (-26_312.00, -417.60)
    assert main.account.currency == "USD"
    [apple] = [each for each in main.account.positions if each.symbol == "AAPL"]
    assert (apple.units, apple.cost, apple.dividends) == (40.0, 100.0, 10.0)


def test_an_account_in_one_currency_is_told_in_it(nasty):
    assert nasty.account.currency == "EUR"
    assert (nasty.account.total("week"), nasty.account.total("total")) == (50.0, 150.0)


def test_markdown_says_what_there_is_and_what_is_missing(main):
    text = on_terminal(main)
    assert text.startswith("# Journal of main, 2026-W48\n\nSaturday 21 November 2026 to Friday 27 November 2026.")
    assert "| SAP (SAP SE) | 8 | 10.00 EUR | 12.50 EUR | 108.00 | +2.40 (+2.27 %) | +24.00 (+28.57 %) |" in text
    assert "| GONE (Never traded) | 1 | 5.00 | - | - | - | - |" in text
    assert "- GONE: no close is stored up to this week: it has no value here" in text
    assert "- AAPL: split 4 for 1 on 2026-11-25" in text
    assert "- AAPL: dividends of 10.00 USD paid, not part of the gains" in text
    assert (
        "| 2026-11-24 | AAPL | MACD below zero (macd\\_zero) | exit | delivered | 102.00 | +20.00 % (entry of" in text
    )
    assert "| macd\\_zero | 1 | 0 | 1 | 100 % (1 of 1) | +20.00 % | - |" in text
    assert "doji" not in text, "FINANCEHUB_NOTIFY names no candlesticks"
    assert "data:" not in text


def test_html_is_well_formed_and_runs_and_fetches_nothing(main, nasty):
    for journal in (main, nasty):
        found = parsed(write(journal).texts["html"])
        assert {tag for tag, _ in found.seen}.isdisjoint(
            {"script", "link", "iframe", "object", "form", "a", "svg", "b"}
        )
        addresses = [value for _, attributes in found.seen for name, value in attributes.items() if name == "src"]
        assert addresses
        assert all(str(address).startswith("data:image/svg+xml;base64,") for address in addresses)
        assert not any(name.startswith("on") for _, attributes in found.seen for name in attributes)
        for address in addresses:
            drawing = ElementTree.fromstring(base64.b64decode(str(address).partition(",")[2]))
            assert drawing.tag.endswith("svg")


def test_a_name_is_text_wherever_it_stands(nasty, main):
    texts = write(nasty).texts
    assert "<script" not in texts["html"]
    assert NASTY in parsed(texts["html"]).text
    assert "# Journal of Müller \\<script\\>alert(1)\\</script\\> \\& \\| Söhne \\# /../1, 2026-W48" in texts["md"]
    assert "Apple \\<b\\>\\&amp;\\</b\\> \\| Co" in write(main).texts["md"]


def test_files_are_written_whole_and_again_are_the_same(held, nasty, main):
    first = write(nasty)
    assert first.paths["html"].parent.parent == held / "journal"
    assert re.fullmatch(r"M.ller _script_alert\(?.*-[0-9a-f]{8}", first.paths["md"].parent.name)
    assert {path.name for path in first.paths.values()} == {"2026-W48.md", "2026-W48.html"}
    stamps = [path.stat().st_mtime_ns for path in first.paths.values()]
    again = write(nasty)
    assert again.texts == first.texts
    assert [path.stat().st_mtime_ns for path in again.paths.values()] == stamps
    assert sorted(path.name for path in first.paths["md"].parent.iterdir()) == ["2026-W48.html", "2026-W48.md"]
    assert write(main).paths["md"] == held / "journal" / "main" / "2026-W48.md"


def test_a_week_before_the_first_lot_says_that_nothing_was_held(held):
    [early, _] = sorted(journals(named("2026-W36")), key=lambda each: each.account.name, reverse=True)
    text = on_terminal(early)
    assert early.account.positions == []
    assert "Nothing was held yet at the end of this week: 4 lots were opened later." in text


def test_a_week_as_known_before_its_prices_came_has_none(held):
    known = datetime(2026, 11, 27, 12, tzinfo=UTC)
    [journal] = journals(WEEK, only=["main"], as_of=known)
    assert journal.account.lacking("value") == ["AAPL", "BTC", "GONE", "SAP"]
    assert (journal.signals, journal.outcomes, journal.complete) == ([], [], False)
    written = write(journal)
    assert written.paths == {}
    assert "as they were known at 2026-11-27 12:00 UTC" in written.texts["md"]
    assert "had not ended" in written.texts["md"]


def test_an_unknown_account_is_refused_by_name(held):
    with pytest.raises(ReadError, match="unknown account mian.*did you mean main"):
        journals(WEEK, only=["mian"])


def test_what_is_shown_beside_others_is_shortened(main, monkeypatch):
    assert write(main).shortened() == write(main).texts["md"]
    grids = [block for block in page(main, 2).blocks if hasattr(block, "rows")]
    assert max(len(grid.rows) for grid in grids) == 2
    assert MOST_SHOWN >= 50
    assert any("2 more positions." in str(block) for block in page(main, 2).blocks)


def test_signals_have_the_prices_of_the_end_of_the_week(held, main):
    """A split after the week restates stored prices, and the page of the week stays the same."""
    signal = next(each for each in main.signals if each.symbol == "AAPL")
    assert (signal.date, signal.price) == (SIGNALS[1][1], 102.0)
    before = on_terminal(main)
    with transaction() as connection:
        connection.exec_driver_sql(
            "insert into corporate_actions (symbol, date, kind, value, source, fetched_at)"
            " values ('AAPL', date '2026-12-07', 'split', 2, 'yahoo', now())"
        )
        connection.exec_driver_sql("update stock_prices_daily set close = close / 2 where symbol = 'AAPL'")
        connection.exec_driver_sql("update corporate_actions set value = value / 2 where kind = 'dividend'")
        connection.exec_driver_sql("update signals set price = price / 2 where symbol = 'AAPL'")
    try:
        assert on_terminal(journals(WEEK, only=["main"])[0]) == before
    finally:
        with transaction() as connection:
            connection.exec_driver_sql("delete from corporate_actions where date = date '2026-12-07'")
            connection.exec_driver_sql("update stock_prices_daily set close = close * 2 where symbol = 'AAPL'")
            connection.exec_driver_sql("update corporate_actions set value = value * 2 where kind = 'dividend'")
            connection.exec_driver_sql("update signals set price = price * 2 where symbol = 'AAPL'")


def test_folders_are_safe_and_never_shared():
    names = [
        "main",
        "Main",
        "a/b",
        "a_b",
        "..",
        ".",
        "CON",
        "",
        "x" * 300,
        "Depot Müller",
        "\0",
        "\ud800",
        "ünder",
        "-",
    ]
    found = folders(names)
    assert len({each.casefold() for each in found.values()}) == len(names)
    for folder in found.values():
        assert 0 < len(folder.encode()) <= 255
        assert not set(folder) & set('/\\:\0\n<>|"?*')
        assert folder not in (".", "..")
        assert not folder.endswith((".", " "))
    assert found["Depot Müller"] == "Depot Müller"
    assert folders(["main"]) == {"main": "main"}
