"""Aliases with an end: their text, and which name a vendor has for which days."""

from datetime import date

import pytest

from financehub_dagster.market.former_aliases import FormerAlias, from_json, names_within, to_json
from financehub_dagster.market.instruments import FieldError, aliases_from_text

FIRST = FormerAlias("binance", "LENDUSDT", date(2020, 10, 15))
SECOND = FormerAlias("binance", "OLDUSDT", date(2022, 1, 31), date(2021, 1, 1))


def test_an_import_file_has_them_among_the_aliases() -> None:
    text = "yahoo=AAVE-USD; binance=LENDUSDT until 2020-10-15;binance=OLDUSDT from 2021-01-01 until 2022-01-31"
    assert aliases_from_text(text) == ({"yahoo": "AAVE-USD"}, (FIRST, SECOND))
    assert from_json(to_json([FIRST, SECOND])) == (FIRST, SECOND)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("financehub=FB", "a symbol of ours that was given up has an end"),
        ("yahoo=FB until June", "write days as 2022-06-08"),
        ("yahoo=FB from 2022-06-08 until 2012-05-18", "2022-06-08 is after 2012-05-18"),
        ("yahoo=FB since 2012", "is not provider=symbol"),
    ],
)
def test_what_cannot_be_meant_is_refused(text: str, problem: str) -> None:
    with pytest.raises(FieldError, match=problem):
        aliases_from_text(text)


def test_days_are_parted_by_the_names_of_one_vendor() -> None:
    former = (SECOND, FIRST, FormerAlias("yahoo", "X", date(2025, 1, 1)))
    parts = names_within(former, "binance", date(2020, 10, 1), date(2022, 3, 1))
    assert parts == [
        (FIRST, date(2020, 10, 1), date(2020, 10, 15)),
        (None, date(2020, 10, 16), date(2020, 12, 31)),
        (SECOND, date(2021, 1, 1), date(2022, 1, 31)),
        (None, date(2022, 2, 1), date(2022, 3, 1)),
    ]
    whole = (date(2023, 1, 1), date(2023, 2, 1))
    assert names_within(former, "binance", *whole) == [(None, *whole)]
    assert names_within((), "binance", *whole) == [(None, *whole)]
    assert names_within(former, "binance", date(2021, 5, 1), date(2021, 6, 1)) == [
        (SECOND, date(2021, 5, 1), date(2021, 6, 1))
    ]
