"""Tables in the metadata of a run, which the webserver shows at once.

Belongs here: records and their columns. Does not belong here: what is in them.
"""

from collections.abc import Iterable, Mapping, Sequence

import dagster as dg


def record_table(
    columns: Sequence[str] | Mapping[str, str], records: Iterable[Mapping[str, object]]
) -> dg.TableMetadataValue:
    """`columns` of `records` in order: each a string, or of the type that a mapping names, int."""
    kinds = columns if isinstance(columns, Mapping) else dict.fromkeys(columns, "string")
    return dg.MetadataValue.table(
        records=[dg.TableRecord({name: _cell(kind, row[name]) for name, kind in kinds.items()}) for row in records],
        schema=dg.TableSchema([dg.TableColumn(name, kind) for name, kind in kinds.items()]),
    )


def _cell(kind: str, value: object) -> str | int:
    return value if kind == "int" and isinstance(value, int) else str(value)
