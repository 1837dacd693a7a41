"""Where the parts of a supervised platform are: what the supervisor of the home wrote down.

Belongs here: reading its state file without loading the command line. Does not belong here: writing it
(cli.supervisor.state), or platforms that nobody supervises, of which nothing is known.
"""

import json
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from financehub_dagster.storage.database.processes import is_alive, since

STATE_FILE = "supervisor.json"


@dataclass(frozen=True)
class Parts:
    """The addresses of the parts that have one, by name, and when each part that runs was started (aware)."""

    urls: dict[str, str] = field(default_factory=dict)
    started: dict[str, datetime] = field(default_factory=dict)


def parts(home: Path) -> Parts | None:
    """The parts of the platform that is supervised in `home` now; None where no supervisor runs."""
    try:
        state = json.loads((home / STATE_FILE).read_text(encoding="utf-8"))
        supervisor = state["supervisor"]
        if not is_alive(supervisor["pid"], supervisor.get("start", "")):
            return None
        started = {each["name"]: since(each["pid"], each["start"]) for each in state["children"]}
        return Parts(dict(state["urls"]), {name: at for name, at in started.items() if at is not None})
    except FileNotFoundError:
        return None
