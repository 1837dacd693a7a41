"""How a declared table becomes an asset definition that explains itself in the webserver.

Belongs here: descriptions, groups, owners, kinds and column schemas under Dagster's own metadata keys. Does not belong
here: anything a run finds out.
"""

from collections.abc import Callable, Sequence
from datetime import timedelta

import dagster as dg

from financehub_dagster.ingest.partitions import partitions_of
from financehub_dagster.tables import catalog

OWNERS = ["team:market-data"]

# Friday's bars are the newest until Monday's session closes; a public holiday may add a day.
DAILY_FRESHNESS = dg.FreshnessPolicy.time_window(fail_window=timedelta(days=5), warn_window=timedelta(days=4))


def table_schema(table: catalog.Table) -> dg.TableSchema:
    """The columns of a declared table with their types, meaning and constraints."""
    return dg.TableSchema(
        columns=[
            dg.TableColumn(c.name, c.type, c.comment, dg.TableColumnConstraints(nullable=c.nullable))
            for c in table.columns
        ],
        constraints=dg.TableConstraints(other=[f"primary key ({', '.join(table.key)})"]),
    )


def table_spec(
    name: str,
    *,
    group: str,
    kinds: set[str],
    details: str,
    deps: Sequence[str] = (),
    freshness_policy: dg.FreshnessPolicy | None = None,
) -> dg.AssetSpec:
    """The asset of the declared table `name`; `details` continues the table's own comment as Markdown."""
    table = catalog.CATALOG[name]
    return dg.AssetSpec(
        key=name,
        deps=list(deps),
        description=f"{table.comment}\n\n{details}",
        group_name=group,
        owners=OWNERS,
        kinds={"postgres", *kinds},
        freshness_policy=freshness_policy,
        metadata={
            "dagster/table_name": f"public.{name}",
            "dagster/storage_kind": "postgres",
            "dagster/column_schema": table_schema(table),
        },
    )


def daily_table(*specs: dg.AssetSpec) -> Callable[[Callable[..., object]], dg.AssetsDefinition]:
    """Decorate the body that fills daily tables: monthly partitions, and any range of them in a single run.

    The step is named after the first table. With several tables, a run may select any of them.
    """
    return dg.multi_asset(
        name=specs[0].key.to_python_identifier(),
        specs=specs,
        partitions_def=partitions_of(specs[0].key.to_user_string()),
        backfill_policy=dg.BackfillPolicy.single_run(),
        can_subset=len(specs) > 1,
    )


def answers_table(spec: dg.AssetSpec, resources: set[str]) -> Callable[[Callable[..., object]], dg.AssetsDefinition]:
    """Decorate the body that fills a table with vendors' answers: its partitions, any range in a single run."""
    return dg.multi_asset(
        name=spec.key.to_python_identifier(),
        specs=[spec],
        partitions_def=partitions_of(spec.key.to_user_string()),
        backfill_policy=dg.BackfillPolicy.single_run(),
        required_resource_keys=resources,
    )
