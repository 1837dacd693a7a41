"""`test_connection`: is the database there, and does every vendor answer?

Belongs here: one cheap question to each. Does not belong here: keeping a history of health.
"""

from typing import TYPE_CHECKING

import dagster as dg

from financehub_dagster.gateway.errors import ProviderError
from financehub_dagster.providers.binance import BinanceProvider
from financehub_dagster.providers.yahoo import YahooProvider

if TYPE_CHECKING:
    from financehub_dagster.providers.base import HealthChecked


@dg.op
def ask_everyone(context: dg.OpExecutionContext, yahoo: YahooProvider, binance: BinanceProvider) -> None:
    """Ask the database and each vendor one cheap question; fails at the end with the name of each that is silent."""
    from financehub_dagster.storage.engine import transaction
    from financehub_dagster.storage.history import row_count

    with transaction() as connection:
        context.log.info(f"database: {row_count(connection, 'instruments')} instruments")
    silent = []
    providers: dict[str, HealthChecked] = {"yahoo": yahoo, "binance": binance}
    for name, provider in providers.items():
        try:
            context.log.info(f"{name}: {provider.test_connection()}")
        except ProviderError as error:
            context.log.error(str(error))
            silent.append(str(error))
    if silent:
        raise dg.Failure("; ".join(silent), allow_retries=False)


@dg.job(description="Ask the database and every vendor one cheap question.")
def test_connection() -> None:
    """Fails with the name of each that does not answer."""
    ask_everyone()
