"""The archive's checksum is of the rows, however they are cut and encoded, and of nothing less."""

import pyarrow as pa
import pytest

from financehub_dagster.storage.archive.files import Checksum

COLUMNS = {
    "symbol": pa.array(["AAPL", "Ä", "", None, "BTC"]),
    "close": pa.array([1.5, None, -0.0, 0.0, 2.0]),
    "ts": pa.array([1, 2, 3, 4, 5], pa.timestamp("us", "UTC")),
    "flags": pa.array([[], ["a", "b"], ["ab"], None, ["c"]]),
    "fine": pa.array([True, False, None, True, True]),
}
ROWS = pa.table(COLUMNS)


def of(*parts: pa.Table) -> str:
    checksum = Checksum(ROWS.column_names)
    for part in parts:
        checksum.add(part)
    return checksum.hexdigest()


def test_cuts_and_encodings_make_no_difference() -> None:
    whole = of(ROWS)
    for cut in range(6):
        assert of(ROWS.slice(0, cut), ROWS.slice(cut)) == whole
    assert of(ROWS.set_column(0, "symbol", ROWS["symbol"].dictionary_encode())) == whole
    assert of(ROWS.set_column(0, "symbol", ROWS["symbol"].cast(pa.large_string()))) == whole
    assert of(pa.concat_tables([ROWS.slice(0, 2), ROWS.slice(2)]).combine_chunks()) == whole


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("symbol", ["AAPLÄ", "", "", None, "BTC"]),
        ("symbol", ["AAPL", "Ä", None, "", "BTC"]),
        ("close", [1.5, None, 0.0, -0.0, 2.0]),
        ("close", [1.5, -0.0, None, 0.0, 2.0]),
        ("ts", [1, 2, 3, 5, 4]),
        ("flags", [[], ["a"], ["b", "ab"], None, ["c"]]),
        ("fine", [True, False, False, True, True]),
    ],
)
def test_any_other_value_makes_one(name: str, values: list[object]) -> None:
    changed = ROWS.set_column(ROWS.column_names.index(name), name, pa.array(values, ROWS.schema.field(name).type))
    assert of(changed) != of(ROWS)
    assert of(ROWS.slice(0, 4)) != of(ROWS)
