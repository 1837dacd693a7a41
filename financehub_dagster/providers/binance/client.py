"""python-binance over the gateway session.

Belongs here: making its client safe for threads, quiet and redirectable. Does not belong here: paging and parsing.
Imports python-binance: import this module inside functions only.
"""

import threading
import warnings
from typing import override

import requests

from financehub_dagster.gateway.addresses import is_loopback
from financehub_dagster.gateway.http.requests_session import GatewaySession

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # it imports websockets.legacy
    from binance.client import Client


class BinanceClient(Client):  # type: ignore[misc]
    """A client that does not ping when made, sends through our session, and may be used by several threads at once.

    The library keeps the last response in an attribute and reads the answer from there, so that two threads sharing a
    client would get each other's prices: here every thread has its own. address: scheme, host and prefix.
    """

    def __init__(self, address: str) -> None:
        self._address = address
        self._last = threading.local()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # it asks asyncio for a loop it does not use
            super().__init__(ping=False)
        self.API_URL = f"{address}/api"

    @property
    def response(self) -> requests.Response | None:
        """This thread's last response."""
        return getattr(self._last, "response", None)

    @response.setter
    def response(self, response: requests.Response | None) -> None:
        self._last.response = response

    @override
    def _init_session(self) -> requests.Session:
        session = GatewaySession()
        session.headers.update(self._get_headers())
        session.trust_env = not is_loopback(self._address)
        return session
