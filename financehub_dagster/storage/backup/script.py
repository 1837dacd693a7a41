"""One database's half of a restore: psql in one transaction that is committed only when asked to.

Belongs here: feeding a dump through pg_restore into psql, and what both report. Does not belong here: which databases,
and what may be overwritten (`restore`).
"""

import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from typing import IO

from sqlalchemy.engine import URL

from financehub_dagster.storage.backup.file import CHUNK, BackupError, DumpPart
from financehub_dagster.storage.backup.programs import Programs, environment, failure
from financehub_dagster.storage.database.urls import libpq_url

LOCK_WAIT = "10s"
"""How long tables that are to be dropped are waited for: nobody else should be connected."""
_DONE = "financehub-is-at-this-point"
_SINCE_17 = b"SET transaction_timeout = 0;\n"
"""pg_restore 17 and later sets it, and servers before 17 do not know it."""


class Script:
    """An open transaction of psql on `url`; `version` is the server's major version."""

    def __init__(self, programs: Programs, url: URL, version: int, messages: IO[bytes]) -> None:
        self._programs, self._url, self._version, self._messages = programs, url, version, messages
        command = programs.command(
            "psql", "--no-psqlrc", "--quiet", "--no-align", "--tuples-only", "--no-password", "--set=ON_ERROR_STOP=1"
        )
        self._process = subprocess.Popen(
            [*command, f"--dbname={libpq_url(url)}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=messages,
            env=environment(url),
        )
        self._send("begin;\nset local idle_in_transaction_session_timeout = 0;\n")

    def drop(self, views: Sequence[str], tables: Sequence[str], functions: Sequence[str]) -> None:
        """Drop views, tables with their partitions, and functions; the names are quoted already."""
        dropped = "".join(f"drop view {name};\n" for name in views)
        dropped += "".join(f"drop function {name};\n" for name in functions)
        dropped += f"drop table {', '.join(tables)};\n" if tables else ""
        self._send(f"set local lock_timeout = '{LOCK_WAIT}';\n{dropped}set local lock_timeout = 0;\n")
        self._answers("drop")

    def load(self, dump: DumpPart, schema: str, done: Callable[[int], None]) -> None:
        """Run a dump of `schema`; reports the bytes of it that were read so far."""
        command = self._programs.command(
            "pg_restore", "--file=-", f"--schema={schema}", "--no-owner", "--no-privileges", "--no-tablespaces"
        )
        self._send("\\o /dev/null\n")
        with tempfile.TemporaryFile() as messages, ExitStack() as stack:
            reader = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=messages)
            stack.callback(_end, reader)
            problems: list[BackupError] = []
            feeder = threading.Thread(target=_feed, args=(dump, reader, problems, done), daemon=True)
            feeder.start()
            stack.callback(feeder.join)
            assert reader.stdout is not None
            for chunk in _without_unknown_settings(reader.stdout, self._version):
                self._send_bytes(chunk)
            feeder.join()
            if problems:
                raise problems[0]
            if reader.wait() != 0:
                messages.seek(0)
                raise failure(self._url, "pg_restore", messages.read().decode(errors="replace"))
        self._send("\n\\o\n")
        self._answers("restore")

    def rows(self, schema: str, tables: Mapping[str, int]) -> dict[str, int]:
        """The rows of each of `tables` as this transaction sees them."""
        found = {}
        for name in tables:
            self._send(f"select count(*) from {quote(schema)}.{quote(name)};\n")
            found[name] = int(self._answers("count")[0])
        return found

    def commit(self) -> None:
        """Make it all last."""
        self._send("commit;\n")
        self._answers("commit")

    def close(self) -> None:
        """End psql; what was not committed is rolled back."""
        _end(self._process)

    def _answers(self, what: str) -> list[str]:
        """Wait until psql has run all it was sent; the lines of its answers."""
        self._send(f"\\echo {_DONE}\n")
        assert self._process.stdout is not None
        lines: list[str] = []
        for line in self._process.stdout:
            text = line.decode(errors="replace").rstrip("\n")
            if text == _DONE:
                return lines
            lines.append(text)
        raise self._failed(what)

    def _send(self, text: str) -> None:
        self._send_bytes(text.encode())

    def _send_bytes(self, data: bytes) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(data)
            self._process.stdin.flush()
        except BrokenPipeError:
            raise self._failed("psql") from None

    def _failed(self, what: str) -> BackupError:
        _end(self._process)
        self._messages.seek(0)
        return failure(self._url, what, self._messages.read().decode(errors="replace"))


@contextmanager
def script(programs: Programs, url: URL, version: int) -> Iterator[Script]:
    """A transaction that is rolled back unless it was committed."""
    with tempfile.TemporaryFile() as messages:
        opened = Script(programs, url, version, messages)
        try:
            yield opened
        finally:
            opened.close()


def quote(name: str) -> str:
    """A name as an identifier."""
    return '"' + name.replace('"', '""') + '"'


def _feed(
    dump: DumpPart, reader: "subprocess.Popen[bytes]", problems: list[BackupError], done: Callable[[int], None]
) -> None:
    """Copy a dump to pg_restore; a pg_restore that ended early says why itself."""
    assert reader.stdin is not None
    read = 0
    try:
        while chunk := dump.read(CHUNK):
            reader.stdin.write(chunk)
            read += len(chunk)
            done(read)
    except BackupError as error:
        problems.append(error)
        reader.kill()
    except BrokenPipeError:
        pass
    finally:
        with suppress(BrokenPipeError):
            reader.stdin.close()


def _without_unknown_settings(stream: IO[bytes], version: int) -> Iterator[bytes]:
    """The script that pg_restore writes, for a server of that version; settings stand at its beginning."""
    first = stream.read(CHUNK)
    yield first if version >= 17 else first.replace(_SINCE_17, b"", 1)
    while chunk := stream.read(CHUNK):
        yield chunk


def _end(process: "subprocess.Popen[bytes]") -> None:
    """End a program, whatever it is doing; its transaction ends with its connection."""
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            with suppress(BrokenPipeError):
                stream.close()
    if process.poll() is None:
        process.terminate()
    process.wait()
