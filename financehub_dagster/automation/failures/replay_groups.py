"""Which dead letters one run can do again together.

Belongs here: grouping rows of task_failures by their work. Does not belong here: taking and running them (replay).
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

type Row = Mapping[str, Any]


@dataclass(frozen=True)
class Group:
    """Rows that one run can do: of one task, one partition range and one config; symbols None means all."""

    task_name: str
    partition_key: str
    config: Mapping[str, Any]
    symbols: frozenset[str] | None
    ids: tuple[int, ...]

    @property
    def run_config(self) -> dict[str, Any]:
        """The config of its run."""
        return dict(self.config) | ({} if self.symbols is None else {"symbols": self.sorted_symbols})

    @property
    def sorted_symbols(self) -> list[str] | None:
        """Its instruments in order; None means all."""
        return None if self.symbols is None else sorted(self.symbols)


def grouped(rows: Iterable[Row]) -> list[Group]:
    """The groups of `rows`, in the order of the first row of each."""
    together: dict[tuple[str, str, str], list[Row]] = {}
    for row in rows:
        config = json.dumps(_config(row), sort_keys=True, default=str)
        together.setdefault((row["task_name"], row["partition_key"], config), []).append(row)
    return [_group(members) for members in together.values()]


def symbols_of(row: Row) -> list[str] | None:
    """The instruments a row is about; None: all."""
    symbols: list[str] | None = [row["symbol"]] if row["symbol"] else row["kwargs"].get("symbols")
    return symbols


def _group(rows: Sequence[Row]) -> Group:
    named = [symbols_of(row) for row in rows]
    known = [symbols for symbols in named if symbols is not None]
    together = frozenset(symbol for symbols in known for symbol in symbols) if len(known) == len(named) else None
    ids = tuple(row["id"] for row in rows)
    return Group(rows[0]["task_name"], rows[0]["partition_key"], _config(rows[0]), together, ids)


def _config(row: Row) -> dict[str, Any]:
    kwargs = row["kwargs"]
    providers = {"providers": kwargs["providers"]} if kwargs.get("providers") else {}
    return {**(kwargs.get("config") or {}), **providers}
