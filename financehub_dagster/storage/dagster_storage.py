"""The address of Dagster's storage in dagster.yaml files that people keep.

Belongs here: that one name. Does not belong here: the storage (`database.dagster_storage`).
"""

from financehub_dagster.storage.database.dagster_storage import FinanceHubDagsterStorage

__all__ = ["FinanceHubDagsterStorage"]
