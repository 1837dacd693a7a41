"""README and docs say what the product does: commands exist, links lead somewhere, tables are the assets."""

import re
import shlex
from pathlib import Path

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from financehub_dagster.assets.checks.steps import CHECKS
from financehub_dagster.cli.app import app
from financehub_dagster.market.instrument_files import default_universe, parse_instruments
from financehub_dagster.market.instruments import COLUMNS
from financehub_dagster_tests.fixtures.folder import REPOSITORY

README = REPOSITORY / "README.md"
PAGES = [README, *sorted((REPOSITORY / "docs").rglob("*.md"))]


def commands(page: Path) -> list[list[str]]:
    """The `financehub` command lines in the indented and fenced blocks of a page."""
    lines = re.findall(r"^(?: {4}|\$ )?(financehub [a-z].*)$", page.read_text(), re.MULTILINE)
    return [shlex.split(line, comments=True) for line in lines]


def test_the_readme_stays_short():
    assert len(README.read_text().splitlines()) <= 150


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_every_link_leads_to_a_file(page):
    targets = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text())
    local = [target for target in targets if "://" not in target]
    assert [target for target in local if not (page.parent / target).exists()] == []


def test_every_command_of_the_readme_exists_with_its_options():
    root = get_command(app)
    found = commands(README)
    assert len(found) >= 5
    for words in found:
        command, rest = root, words[1:]
        while rest and hasattr(command, "commands") and rest[0] in command.commands:
            command, rest = command.commands[rest[0]], rest[1:]
        assert command is not root, words
        known = {name for parameter in command.params for name in parameter.opts}
        assert {word for word in rest if word.startswith("--")} <= known, words


def test_the_import_file_of_the_readme_can_be_imported(tmp_path):
    [block] = re.findall(r"((?:^ {4}symbol,.*\n)(?:^ {4}.*\n)+)", README.read_text(), re.MULTILINE)
    file = tmp_path / "my-universe.csv"
    file.write_text("\n".join(line.strip() for line in block.splitlines()) + "\n")
    assert file.read_text().splitlines()[0].split(",") == list(COLUMNS)
    imported = {instrument.symbol: instrument for instrument in parse_instruments(file)}
    assert list(imported) == ["SAP", "BTC", "WBA"]
    [bitcoin] = [instrument for instrument in default_universe() if instrument.symbol == "BTC"]
    assert imported["BTC"] == bitcoin, "who imports it into a platform loses no alias"


def test_the_readme_tells_how_to_reach_the_commands():
    text = README.read_text()
    assert text.index("source .venv/bin/activate") < text.index("    financehub up")


def test_the_table_of_tables_is_that_of_the_assets():
    rows = re.findall(r"^\| `(\w+)` \|", README.read_text(), re.MULTILINE)
    assert sorted(rows) == sorted(CHECKS)


def test_help_names_every_command():
    shown = CliRunner().invoke(app, ["--help"]).output
    for name in ("demo", "up", "down", "status", "db", "instruments", "backfill", "update", "usage", "sandbox"):
        assert name in shown
