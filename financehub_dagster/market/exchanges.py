"""The exchanges whose sessions are known, by ISO 10383 market identifier code (MIC).

Belongs here: the register in `exchanges.csv`, light enough to validate an import file with. Does not belong here: the
sessions themselves (`calendars`). An exchange that shares another's hours and holidays names that one's calendar.
Athens, Belgrade, Bucharest, Cyprus and Tel Aviv are left out: their calendars in exchange_calendars 4.13 fail to load
beside pandas 3.1.
"""

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

NO_MARKET = "XXXX"
"""ISO 10383's code for "no market": cryptos and currencies are traded on no single exchange."""


@dataclass(frozen=True, slots=True)
class Exchange:
    """One exchange: its MIC, its name, its IANA time zone and the exchange_calendars calendar that it keeps.

    currency is the ISO 4217 code in which most of its listings are traded, that of the country; a listing in another
    one names it itself. Minor units (pence, South African cents, agorot) are not currencies: providers convert them.
    """

    mic: str
    name: str
    timezone: str
    calendar: str
    currency: str


@cache
def exchanges() -> Mapping[str, Exchange]:
    """Every known exchange by MIC."""
    text = files("financehub_dagster.market").joinpath("exchanges.csv").read_text(encoding="utf-8")
    return {row["mic"]: Exchange(**row) for row in csv.DictReader(text.splitlines())}
