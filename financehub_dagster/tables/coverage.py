"""`coverage`: the ledger."""

from financehub_dagster.tables.columns import SYMBOL
from financehub_dagster.tables.declaration import Column, Maintained, Table


def _sessions(name: str, comment: str) -> Column:
    return Column(name, "datemultirange", comment, default="'{}'::datemultirange")


TABLE = Table(
    name="coverage",
    comment="The ledger: of every instrument, which sessions were settled, and which of them are not stored.",
    columns=(
        Column("table_name", "text", "the table it is about", key=True),
        SYMBOL,
        Column("first", "date", "since when sessions are expected"),
        Column("through", "date", "the last session that was settled"),
        Column("calendar_digest", "bigint", "a checksum of the sessions from first to through"),
        _sessions("empty", "sessions the vendor confirms to have nothing for"),
        _sessions("gap", "sessions that are missing and will be asked for"),
        _sessions("dead_lettered", "sessions whose work failed and waits in task_failures"),
        _sessions("deferred", "sessions whose work waits in deferred_work"),
        Column("settled_at", "timestamp with time zone", "when it was computed", default="now()", stamp=True),
    ),
    grain="none",
    filled=Maintained(),
    group="operations",
    source=("matplotlib",),
    details="Settled in the transaction of the rows it is about, and recomputable from them: `gaps --rebuild`."
    " Every session that has finished is stored, confirmed empty by the vendor, a gap, dead-lettered or deferred. Gaps"
    " are filled by runs of `heal_gaps`. Each materialization holds heat maps of instruments × months.",
    checks=("no_open_gaps",),
)
