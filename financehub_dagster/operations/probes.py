"""Calls that show whether a part of the platform works: each makes the part do some of its work, and raises Trouble.

Belongs here: asking over loopback, and reading the database; supervisor, `status` and health share these calls. Does
not belong here: how long a part may fail before something is done about it (cli.supervisor.judging), or any address
outside this machine.
"""

import json
import os
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any
from urllib.error import URLError
from urllib.request import Request, urlopen

SECONDS = 10.0
"""How long a call waits for its answer."""
BROKEN, SLOW, UNSEEN = 8.0, 30.0, 45.0
"""Seconds that a part may go on failing: when it says so itself, when it gives no answer, and when it still shows a
code location as unreachable that answers again (the webserver looks every ten seconds)."""
HEARTBEAT_SECONDS, HEARTBEAT_SLACK = 30.0, 15.0
"""Each of the daemon's threads writes a heartbeat every 30 s (dagster._daemon.daemon)."""
THREAD_SECONDS = 300.0
"""One thread of the daemon may be busy for as long as this while the others go on."""
WORKING_THREADS = frozenset({"SCHEDULER", "SENSOR", "QUEUED_RUN_COORDINATOR"})
"""The threads that never work on one thing for minutes."""
BUSIEST = 4.0
"""What is slow gets at most this much more time on a busy machine."""
UNREACHABLE = "DagsterUserCodeUnreachableError"

LOCATIONS = """{ runsOrError(limit: 1) { __typename } workspaceOrError { ... on PythonError { message }
  ... on Workspace { locationEntries { name loadStatus locationOrLoadError {
    __typename ... on RepositoryLocation { name }
    ... on PythonError { message cause { message cause { message cause { message } } } } } } } } }"""

type Probe = Callable[[], None]


class Trouble(Exception):
    """A part does not do its work; the message is why. It may last `patience` seconds, and longer where it is slow.

    slow: it gave no answer in time, which on a busy machine means little. final: it will say so until it is started
    again, however long it gets.
    """

    def __init__(self, why: str, patience: float = BROKEN, *, slow: bool = False, final: bool = False) -> None:
        super().__init__(why)
        self.patience = patience
        self.slow = slow
        self.final = final


def busyness() -> float:
    """How much longer than usual things take on this machine now, from 1 on: processes that want to run, per core."""
    return min(BUSIEST, max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1)))


def silent(seconds: float) -> Trouble:
    """The trouble of a part that has not answered for `seconds`."""
    return Trouble(f"it gave no answer within {seconds:.0f} s", SLOW, slow=True)


def works(probe: Probe) -> bool:
    """Whether the part does its work now."""
    try:
        probe()
    except Trouble:
        return False
    return True


def sandbox(url: str, timeout: float = SECONDS) -> None:
    """The sample market tells of its faults."""
    _fetch(f"{url}/_control/faults", timeout)


def http_server(url: str, timeout: float = SECONDS) -> None:
    """The server of health and metrics answers."""
    _fetch(f"{url}/livez", timeout)


def code_server(url: str, timeout: float = SECONDS) -> None:
    """The code server names its repositories; `url` is grpc://host:port.

    It keeps what has stopped it from loading the code, such as a database that was away, until it is started again.
    gRPC without Dagster's client, which takes a second to import.
    """
    import grpc

    with grpc.insecure_channel(url.removeprefix("grpc://")) as channel:
        try:
            answer = bytes(channel.unary_unary("/api.DagsterApi/ListRepositories")(b"", timeout=timeout))
        except grpc.RpcError as error:
            code = error.code()
            if code is grpc.StatusCode.DEADLINE_EXCEEDED:
                raise silent(timeout) from None
            gone = code is grpc.StatusCode.UNAVAILABLE
            raise Trouble("nobody answers there" if gone else f"it names no repositories: {code.name}") from None
    found = _text(answer)
    if found.get("__class__") == "SerializableErrorInfo":
        raise Trouble(not_loaded(found), final=True)


def _text(answer: bytes) -> dict[str, Any]:
    """The JSON that is the one field of an answer in Protobuf's form: a tag, its length as a varint, the text."""
    try:
        last = next(place for place, byte in enumerate(answer) if place and byte < 0x80)
        found: dict[str, Any] = json.loads(answer[last + 1 :])
    except (StopIteration, ValueError):
        raise Trouble("its answer is none of a code server") from None
    return found


def not_loaded(error: Mapping[str, Any]) -> str:
    """What is said of code that does not load, in one line: the first cause of Dagster's error, with its type."""
    while error.get("cause"):
        error = error["cause"]
    return f"the code location does not load: {error['message'].strip().partition('\n')[0]}"


def webserver(url: str, timeout: float = SECONDS) -> None:
    """The webserver reads the database and shows the code location, or why that does not load."""
    for entry in location_entries(ask(url, LOCATIONS, timeout)):
        outcome = entry["locationOrLoadError"] or {}
        if UNREACHABLE in outcome.get("message", ""):
            raise Trouble("it shows the code location as unreachable", UNSEEN)


def ask(url: str, query: str, timeout: float = SECONDS, variables: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The data that answers a GraphQL query; raises Trouble."""
    body = json.dumps({"query": query, "variables": variables or {}}).encode()
    answer = _fetch(Request(f"{url}/graphql", data=body, headers={"Content-Type": "application/json"}), timeout)
    try:
        data: dict[str, Any] = json.loads(answer)["data"]
    except (ValueError, KeyError, TypeError):
        raise Trouble("its answer is none of a webserver of Dagster") from None
    return data


def database() -> None:
    """The database takes a connection and answers on it."""
    from financehub_dagster.storage.database.creation import answers
    from financehub_dagster.storage.database.errors import DatabaseError
    from financehub_dagster.storage.database.urls import market_url

    try:
        answers(market_url(), SECONDS)
    except TimeoutError:
        raise silent(SECONDS) from None
    except DatabaseError as error:
        raise Trouble(str(error)) from None


class Heartbeats:
    """The daemon writes heartbeats. Judged by whether they change, not by their age: clocks are set, machines sleep.

    To be made when the daemon starts; what an earlier one wrote does not count. `now` is a clock in seconds that stands
    still while the machine sleeps.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._seen: dict[str, tuple[datetime, float]] = {}
        self._first: dict[str, datetime] | None = None

    def __call__(self) -> None:
        """Read them; raises Trouble when all of them, or those of one thread, have stood still for too long."""
        still = self._still_for()
        if all(self._first is not None and self._first.get(name) == beat for name, (beat, _) in self._seen.items()):
            raise Trouble("it has written no heartbeat yet", SLOW, slow=True)
        youngest = min(still.values())
        if youngest > HEARTBEAT_SECONDS + HEARTBEAT_SLACK * busyness():
            raise Trouble(f"it has written no heartbeat for {youngest:.0f} s", 0.0)
        for name in sorted(WORKING_THREADS & still.keys()):
            if still[name] > THREAD_SECONDS:
                raise Trouble(f"its {name.lower()} has written no heartbeat for {still[name]:.0f} s")

    def _still_for(self) -> dict[str, float]:
        """Seconds since each heartbeat changed."""
        from financehub_dagster.storage.database.dagster_state import heartbeats
        from financehub_dagster.storage.database.errors import DatabaseError

        try:
            beats = heartbeats()
        except DatabaseError as error:
            raise Trouble(f"its heartbeats cannot be read: {error}", SLOW, slow=True) from None
        now = self._now()
        self._first = beats if self._first is None else self._first
        for name, beat in beats.items():
            if name not in self._seen or self._seen[name][0] != beat:
                self._seen[name] = (beat, now)
        return {name: now - since for name, (_, since) in self._seen.items()}


def recent(beats: Iterable[datetime], started: datetime, now: datetime) -> None:
    """A daemon started then has written one of `beats` of late; for those who look only once. Raises Trouble."""
    age = (now - max([started, *beats])).total_seconds()
    if age > 2 * HEARTBEAT_SECONDS:
        raise Trouble(f"it has written no heartbeat for {age:.0f} s")


def location_entries(data: dict[str, Any]) -> list[dict[str, Any]]:
    """The code locations in the response to LOCATIONS."""
    found: list[dict[str, Any]] = data["workspaceOrError"].get("locationEntries") or []
    return found


def _fetch(request: Request | str, timeout: float) -> bytes:
    """The body of an answer; raises Trouble."""
    try:
        with urlopen(request, timeout=timeout) as response:
            body: bytes = response.read()
            return body
    except TimeoutError:
        raise silent(timeout) from None
    except (URLError, OSError) as error:
        reason = getattr(error, "reason", error)
        if isinstance(reason, TimeoutError):
            raise silent(timeout) from None
        raise Trouble(f"it cannot be asked: {reason}") from None
