"""`test_connection`: is the database there, and does every vendor answer?

Belongs here: one cheap question to each. Does not belong here: keeping a history of health.
"""

from time import perf_counter
from typing import TYPE_CHECKING

import dagster as dg

from financehub_dagster.automation.queues import queue_tags
from financehub_dagster.gateway.errors import BadKey, NotConfigured, ProviderError
from financehub_dagster.providers import all_providers
from financehub_dagster.wording import counted

if TYPE_CHECKING:
    from collections.abc import Mapping

    from financehub_dagster.providers.resource import Vendor

VENDORS = tuple(all_providers())


@dg.op(required_resource_keys=set(VENDORS))
def ask_everyone(context: dg.OpExecutionContext) -> None:
    """Ask the database and each vendor one cheap question; fails at the end with the name of each that is silent.

    A vendor without a key is off, which is no failure. Keys that vendors refused are used again: whoever asks may have
    put them right.
    """
    from financehub_dagster.storage.database.engine import transaction
    from financehub_dagster.storage.queries.history import row_count
    from financehub_dagster.storage.rate_limits import api_keys

    with transaction() as connection:
        context.log.info(f"database: {counted(row_count(connection, 'instruments'), 'instrument')}")
        if released := api_keys.release(connection, BadKey.__name__):
            context.log.info(f"keys that vendors refused and that are used again: {released}")
    providers: Mapping[str, Vendor] = {name: getattr(context.resources, name) for name in VENDORS}
    silent = []
    for name, provider in providers.items():
        started = perf_counter()
        try:
            said = provider.test_connection()
            context.log.info(f"{name}: {said}, in {perf_counter() - started:.2f} s")
        except NotConfigured as off:
            context.log.info(str(off))
        except ProviderError as error:
            context.log.error(str(error))
            silent.append(str(error))
    if silent:
        raise dg.Failure("; ".join(silent), allow_retries=False)


@dg.job(
    description="Ask the database and every vendor one cheap question, with keys that were refused before too.",
    tags=queue_tags("high"),
)
def test_connection() -> None:
    """Fails with the name of each that does not answer."""
    ask_everyone()
