"""Folders that people have: spaces, quotes, umlauts, long paths, links, and what is no folder at all."""

import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from financehub_dagster.cli.app import run

FINANCEHUB = (sys.executable, "-m", "financehub_dagster.cli")
OURS = ("FINANCEHUB_", "DAGSTER_", "PG")
OTHER_SERVERS = {"PGPORT": "6000", "PGHOST": "db.example", "PGUSER": "someone", "PGDATABASE": "theirs"}


@pytest.fixture
def short() -> Iterator[Path]:
    """A folder with a short path, resolved."""
    folder = Path(tempfile.mkdtemp(prefix="fh-")).resolve()
    yield folder
    shutil.rmtree(folder)


def financehub(folder: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(OURS)}
    return subprocess.run(
        [*FINANCEHUB, *arguments], cwd=folder, env=inherited | variables, capture_output=True, text=True, check=False
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["a+b's $HOME", "/".join([*["deep" * 12] * 3, "a,b it's \"mine\" & Müller's a+b $HOME"])]
)
def test_a_database_in_a_folder_of_any_name_and_length_is_migrated_and_opened(short: Path, name: str) -> None:
    """A folder with a short path and no comma holds the server's socket, so its name is a part of every address."""
    folder = short / name
    folder.mkdir(parents=True)
    migrated = financehub(folder, "db", "upgrade", **OTHER_SERVERS)
    assert (migrated.returncode, migrated.stderr) == (0, "")
    answer = financehub(
        folder, "db", "shell", "--", "-Atc", "select count(*), current_setting('port') from instruments"
    )
    assert (answer.stdout, answer.stderr, answer.returncode) == ("0|5432\n", "", 0)
    url = financehub(folder, "db", "url")
    assert "`financehub db shell` opens it" in url.stderr
    # As a person types it, while something holds the server.
    address = shlex.quote(url.stdout.strip())
    asked = financehub(folder, "db", "shell", "--", "-Atc", f"\\! psql {address} -Atc 'select 42'")
    assert (asked.stdout, asked.returncode) == ("42\n", 0), asked.stderr


def test_the_shell_ends_as_psql_ends_and_says_what_is_missing(database, dagster_database, folder, capfd) -> None:
    assert run(["db", "shell", "--", "-c", "select nonsense"]) == 1
    assert 'column "nonsense" does not exist' in capfd.readouterr().err
    assert run(["db", "shell", "--dagster", "--", "-Atc", "select count(*) from runs"]) == 0
    assert capfd.readouterr().out == "0\n"


COMMANDS = (["db", "upgrade"], ["db", "url"], ["instruments", "list"], ["status"], ["down"], ["up", "--port", "3999"])


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
@pytest.mark.parametrize("home", ["file", "file/below", "~nosuchuser/x"])
def test_a_home_that_is_no_folder_is_one_line_at_every_command(
    folder, monkeypatch: pytest.MonkeyPatch, capsys, command: list[str], home: str
) -> None:
    (folder / "file").touch()
    monkeypatch.setenv("FINANCEHUB_HOME", home)
    assert run(command) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("financehub: FINANCEHUB_HOME ")
    assert {path.name for path in folder.iterdir()} == {"file"}


def test_a_disk_without_room_leaves_every_file_of_a_home_as_it_was(database, folder, capsys) -> None:
    """No process may write to a file here, which is what a full disk does to one."""
    assert run(["instruments", "list"]) == 0
    home = folder / ".financehub/live"
    old = {home / "dagster/dagster.yaml": "# of an earlier version\n", folder / "workspace.yaml": None}
    for path, text in old.items():
        path.write_text(text or path.read_text().replace("load_from", "\nload_from"))
    (folder / ".env").write_text("FINNHUB_API_KEYS=k\n")
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    command = f"ulimit -f 0; exec {shlex.join([*FINANCEHUB, 'db', 'upgrade'])}"
    done = subprocess.run(["bash", "-c", command], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    [line] = done.stderr.splitlines()
    assert line.endswith("File too large; mend that, or set FINANCEHUB_HOME to another folder")
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
