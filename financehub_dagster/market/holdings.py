"""Holdings: lots of instruments in accounts, and the CSV files they are imported from.

Belongs here: what a lot is, and reading a file whole or not at all. Does not belong here: storing (storage).
"""

import csv
import io
import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path

from financehub_dagster.wording import counted

COLUMNS = ("account", "symbol", "quantity", "cost", "opened_on")


class HoldingsError(Exception):
    """A file of holdings cannot be used; the message names file, line and column."""


@dataclass(frozen=True, slots=True)
class Lot:
    """Units of an instrument that an account has held since a day.

    quantity: negative for a short position; cost: paid for one unit, in the instrument's currency. Both are as of
    `opened_on`, before any later split.
    """

    account: str
    symbol: str
    quantity: float
    cost: float
    opened_on: date


def parse(path: Path) -> list[Lot]:
    """All lots of a CSV file with the header `account,symbol,quantity,cost,opened_on`, in any order of columns.

    Raises HoldingsError for the first thing that is wrong; a lot may be listed once.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise HoldingsError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise HoldingsError(f"{path.name}: is not UTF-8 text: save the file as UTF-8") from None
    seen: dict[tuple[str, str, date], int] = {}
    lots = []
    for line, lot in _lots(path.name, text):
        key = (lot.account, lot.symbol, lot.opened_on)
        if key in seen:
            raise HoldingsError(f"{path.name}: line {line}: this lot is on line {seen[key]} already: add them up")
        seen[key] = line
        lots.append(lot)
    if not lots:
        raise HoldingsError(f"{path.name}: holds no lot")
    return lots


def _lots(name: str, text: str) -> Iterator[tuple[int, Lot]]:
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    header: list[str] | None = None
    try:
        for cells in reader:
            if not any(cell.strip() for cell in cells):
                continue
            if header is None:
                header = [cell.strip().lower() for cell in cells]
                if len(header) == 1 and any(mark in header[0] for mark in ";\t|"):
                    raise HoldingsError(f"{name}: line {reader.line_num}: separate the columns by commas")
                if sorted(header) != sorted(COLUMNS):
                    raise HoldingsError(f"{name}: line {reader.line_num}: the header must be {','.join(COLUMNS)}")
                continue
            if len(cells) != len(header):
                found = f"{counted(len(cells), 'cell')} under {counted(len(header), 'column')}"
                raise HoldingsError(f"{name}: line {reader.line_num}: {found}")
            values = {column: cell.strip() for column, cell in zip(header, cells, strict=True)}
            yield reader.line_num, _lot(f"{name}: line {reader.line_num}", values)
    except csv.Error as error:
        raise HoldingsError(f"{name}: line {reader.line_num}: {error}") from None


def _lot(where: str, values: dict[str, str]) -> Lot:
    for column in ("account", "symbol"):
        if not values[column]:
            raise HoldingsError(f"{where}, column {column}: is empty")
    quantity, cost = (_number(f"{where}, column {column}", values[column]) for column in ("quantity", "cost"))
    if quantity == 0:
        raise HoldingsError(f"{where}, column quantity: must not be 0")
    if cost <= 0:
        raise HoldingsError(f"{where}, column cost: must be above 0")
    try:
        opened_on = date.fromisoformat(values["opened_on"])
    except ValueError:
        raise HoldingsError(f"{where}, column opened_on: write a day as 2026-11-29") from None
    if opened_on > datetime.now(UTC).date():
        raise HoldingsError(f"{where}, column opened_on: {opened_on} has not come yet")
    return Lot(values["account"], values["symbol"].upper(), quantity, cost, opened_on)


def _number(where: str, text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise HoldingsError(f"{where}: {text!r} is not a number: write it as 1234.5")
    return number
