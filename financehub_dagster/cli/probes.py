"""Questions over loopback to the servers of the platform: the sandbox and Dagster's webserver.

Belongs here: asking whether they work. Does not belong here: starting them, or any address outside this machine.
"""

import json
from typing import Any
from urllib.error import URLError
from urllib.request import Request, urlopen

from financehub_dagster.cli.errors import CommandError

_LOCATIONS = """{ workspaceOrError { ... on PythonError { message }
  ... on Workspace { locationEntries { name loadStatus locationOrLoadError {
    __typename ... on PythonError { message } ... on RepositoryLocation { name } } } } } }"""


def responds(url: str, timeout: float = 10.0) -> bool:
    """Whether a GET of `url` succeeds."""
    try:
        with urlopen(url, timeout=timeout):
            return True
    except (URLError, TimeoutError, ConnectionError):
        return False


def ask(url: str, query: str, timeout: float = 10.0) -> dict[str, Any] | None:
    """The data that answers a GraphQL query; None while nothing answers at `url`."""
    body = json.dumps({"query": query}).encode()
    request = Request(f"{url}/graphql", data=body, headers={"Content-Type": "application/json"})
    try:
        with urlopen(request, timeout=timeout) as response:
            data: dict[str, Any] = json.load(response)["data"]
            return data
    except (URLError, TimeoutError, ConnectionError):
        return None


def shows_code(url: str) -> bool:
    """Whether the code location is loaded; raises CommandError with the reason when it cannot be."""
    data = ask(url, _LOCATIONS)
    if data is None:
        return False
    entries = data["workspaceOrError"].get("locationEntries") or []
    for entry in entries:
        outcome = entry["locationOrLoadError"] or {}
        if outcome.get("__typename") == "PythonError" and entry["loadStatus"] == "LOADED":
            raise CommandError(f"the code location does not load: {outcome['message'].strip().splitlines()[-1]}")
    return bool(entries) and all(
        (entry["locationOrLoadError"] or {}).get("__typename") == "RepositoryLocation" for entry in entries
    )
