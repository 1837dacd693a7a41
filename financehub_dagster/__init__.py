"""FinanceHub on Dagster: market data as partitioned, checked and explained assets."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from financehub_dagster.serving.read import read as read

__all__ = ["read"]


def __getattr__(name: str) -> Any:
    """Import `read` when somebody uses it: every process of the platform imports this package."""
    if name == "read":
        from financehub_dagster.serving.read import read

        return read
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
