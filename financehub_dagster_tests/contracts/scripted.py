"""A vendor that answers exactly what a test wrote down, over real HTTP on loopback."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

RECORDED: dict[str, Any] = json.loads((Path(__file__).parent / "recorded" / "yahoo_charts.json").read_text())


@dataclass(frozen=True)
class Answer:
    """body is sent as JSON unless it is bytes already."""

    body: Any
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def content(self) -> bytes:
        return self.body if isinstance(self.body, bytes) else json.dumps(self.body).encode()


@dataclass(frozen=True)
class Asked:
    """One request as it arrived."""

    path: str
    query: dict[str, str]
    headers: dict[str, str]


@dataclass
class ScriptedVendor:
    """Gives the answers in order, the last one again and again, or what `rule` says; remembers what it was asked."""

    url: str = ""
    answers: list[Answer] = field(default_factory=list)
    asked: list[Asked] = field(default_factory=list)
    rule: Callable[[Asked], Answer] | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)

    def will_answer(self, *answers: Answer) -> None:
        with self.lock:
            self.answers, self.asked, self.rule = list(answers), [], None

    def next(self, asked: Asked) -> Answer:
        with self.lock:
            self.asked.append(asked)
            if self.rule is not None:
                return self.rule(asked)
            return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


@contextmanager
def scripted_vendor(*answers: Answer, host: str = "127.0.0.1") -> Iterator[ScriptedVendor]:
    """Run one on a free port for as long as the block."""
    vendor = ScriptedVendor()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            query = {name: values[0] for name, values in parse_qs(parts.query, keep_blank_values=True).items()}
            answer = vendor.next(Asked(parts.path, query, {k.lower(): v for k, v in self.headers.items()}))
            self.send_response_only(answer.status)
            for name, value in {"Content-Length": str(len(answer.content)), **answer.headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(answer.content)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  (the name is the base class's)
            """The test report is enough."""

    server = ThreadingHTTPServer((host, 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        vendor.url = f"http://{host}:{server.server_address[1]}"
        vendor.will_answer(*answers)
        yield vendor
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
