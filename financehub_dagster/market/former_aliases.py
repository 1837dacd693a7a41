"""Names that an instrument had until a day: ours before a rename, and those under which a vendor keeps earlier history.

Belongs here: the value, its text in import files and its form as JSON. Does not belong here: who is asked under which
name (`providers.former_names`), storing them.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

OWN = "financehub"
"""Stands for us where a provider is named: the symbol that was ours."""
_TEXT = re.compile(r"(?P<symbol>\S+)(?: +from +(?P<since>\S+))? +until +(?P<until>\S+)")


@dataclass(frozen=True, slots=True)
class FormerAlias:
    """What `provider` called an instrument from `since` (None: from its beginning) until `until`, both included."""

    provider: str
    symbol: str
    until: date
    since: date | None = None

    def as_json(self) -> dict[str, str | None]:
        """For `--json`."""
        since = None if self.since is None else self.since.isoformat()
        return {"provider": self.provider, "symbol": self.symbol, "from": since, "until": self.until.isoformat()}


def parse(provider: str, text: str) -> FormerAlias | None:
    """The alias of `FB until 2022-06-08` or `FB from 2012-05-18 until 2022-06-08`; None where the text has no end.

    Raises ValueError for days that are none, or in the wrong order.
    """
    found = _TEXT.fullmatch(text)
    if found is None:
        return None
    until = date.fromisoformat(found["until"])
    since = None if found["since"] is None else date.fromisoformat(found["since"])
    if since is not None and since > until:
        raise ValueError(f"{since} is after {until}")
    return FormerAlias(provider, found["symbol"], until, since)


def to_json(former: Iterable[FormerAlias]) -> dict[str, list[dict[str, str | None]]]:
    """What the database keeps: by provider the names in their order."""
    found: dict[str, list[dict[str, str | None]]] = {}
    for each in former:
        row = each.as_json()
        found.setdefault(each.provider, []).append({name: row[name] for name in ("symbol", "from", "until")})
    return found


def from_json(kept: Mapping[str, Iterable[Mapping[str, Any]]]) -> tuple[FormerAlias, ...]:
    """What `to_json` wrote."""
    return tuple(
        FormerAlias(
            provider,
            row["symbol"],
            date.fromisoformat(row["until"]),
            None if row["from"] is None else date.fromisoformat(row["from"]),
        )
        for provider, rows in kept.items()
        for row in rows
    )


def names_within(
    former: Iterable[FormerAlias], provider: str, start: date, end: date
) -> list[tuple[FormerAlias | None, date, date]]:
    """The parts of `start` to `end` with the name that `provider` has for each, in order; None: its present name.

    Of names whose days overlap, the one that ended earlier counts.
    """
    mine = sorted((each for each in former if each.provider == provider), key=lambda each: each.until)
    parts: list[tuple[FormerAlias | None, date, date]] = []
    day = timedelta(days=1)
    for each in mine:
        first, last = max(start, each.since or start), min(end, each.until)
        if first > last:
            continue
        if first > start:
            parts.append((None, start, first - day))
        parts.append((each, first, last))
        start = last + day
    if start <= end:
        parts.append((None, start, end))
    return parts
