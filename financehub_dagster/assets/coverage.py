"""`coverage`: the ledger of every session, shown.

Belongs here: what the asset reports of the ledger, and its check. Does not belong here: keeping the ledger, which is
done wherever rows are written, and filling gaps (automation.jobs.healing).
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime

import dagster as dg

from financehub_dagster.assets.checks.bars import SHOWN, Check, Evidence, Finding
from financehub_dagster.assets.tables import kept
from financehub_dagster.ingest.record_table import record_table
from financehub_dagster.tables import BARS_OF, DERIVED, LEDGER_TABLES
from financehub_dagster.wording import counted

NAME = "coverage"


@kept(NAME, deps=LEDGER_TABLES)
def coverage(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
    """Bring the ledger up to now and report it."""
    from financehub_dagster.assets.charts.coverage import heat_map
    from financehub_dagster.storage.coverage import gaps, ledger
    from financehub_dagster.storage.database.engine import transaction

    changed = ledger.refresh(datetime.now(UTC))
    with transaction() as connection:
        counts = gaps.sessions_by_state(connection)
        lacking = gaps.open_gaps(connection, SHOWN)
        pictures = {
            "heat_map": heat_map("daily bars", gaps.shares_by_month(connection, list(BARS_OF))),
            "heat_map_indicators": heat_map("computed tables", gaps.shares_by_month(connection, list(DERIVED))),
        }
    context.log.info(f"{NAME}: {counted(changed, 'row was', 'rows were')} brought up to now")
    metadata = {
        **_numbers(counts),
        "sessions": _sessions(counts),
        "open_gaps": _table(lacking),
        **{name: picture for name, picture in pictures.items() if picture is not None},
    }
    # As metadata of the result, Dagster would store the pictures with the step's output once more.
    context.add_asset_metadata(metadata, asset_key=NAME)
    return dg.MaterializeResult(asset_key=NAME)


def no_news(instance: dg.DagsterInstance) -> str | None:
    """Why a report would show what the newest one does; None: a session was added, or changed its state."""
    from financehub_dagster.storage.coverage import gaps
    from financehub_dagster.storage.database.engine import transaction

    last = instance.get_latest_materialization_event(dg.AssetKey(NAME))
    if last is None or last.asset_materialization is None:
        return None
    with transaction() as connection:
        shown = _sessions(gaps.sessions_by_state(connection))
    same = last.asset_materialization.metadata.get("sessions") == shown
    return "the ledger counts what it did at the last report" if same else None


def _sessions(counts: Mapping[str, Mapping[str, int]]) -> dg.TableMetadataValue:
    return _table([{"table": table, **states} for table, states in counts.items()])


def _numbers(counts: Mapping[str, Mapping[str, int]]) -> dict[str, int | float]:
    """Sessions of all tables by state, which the webserver plots over time, and the share accounted for."""
    states = next(iter(counts.values()))
    total = {state: sum(of[state] for of in counts.values()) for state in states}
    there = total["stored"] + total["empty"]
    share = there / total["expected"] if total["expected"] else 1.0
    return {**total, "percent_accounted_for": round(100 * share, 3)}


def _table(rows: Sequence[Mapping[str, object]]) -> dg.TableMetadataValue:
    columns = list(rows[0]) if rows else ["table"]
    kinds = {name: "int" if rows and isinstance(rows[0][name], int) else "string" for name in columns}
    return record_table(kinds, ({name: _shown(value) for name, value in row.items()} for row in rows))


def _shown(value: object) -> object:
    return f"{value:%Y-%m}" if isinstance(value, date) else value


def _no_open_gaps(evidence: Evidence) -> Finding:
    from financehub_dagster.storage.coverage import gaps

    counts = gaps.sessions_by_state(evidence.connection)
    expected = sum(states["expected"] for states in counts.values())
    open_ = sum(states[state] for states in counts.values() for state in ("gap", "dead_lettered", "deferred"))
    lacking = f"sessions missing, failed or deferred: {open_:,} of {expected:,}"
    message = lacking if open_ else f"{expected:,} accounted for"
    return Finding(expected, open_, message, gaps.open_gaps(evidence.connection, SHOWN))


NO_OPEN_GAPS = Check(
    "no_open_gaps", "Every finished session is stored, or the vendor confirms to have none.", _no_open_gaps
)
