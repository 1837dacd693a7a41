"""Data sets of backtesting engines, read as the engines read them, against what `read` says."""

import json
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from financehub_dagster import read
from financehub_dagster.cli.app import run
from financehub_dagster.market.instruments import AssetType, Instrument
from financehub_dagster.serving.errors import ReadError
from financehub_dagster.serving.export import Exported, export
from financehub_dagster.serving.questions import ask
from financehub_dagster.storage.database.engine import transaction
from financehub_dagster.storage.database.schema import table
from financehub_dagster.storage.queries.instruments import upsert_instruments
from financehub_dagster_tests.unit.serving import stored

BARS = "stock_prices_daily"
PRICES = ["open", "high", "low", "close"]


@pytest.fixture(autouse=True)
def filled(before: object) -> None:
    """Forty days of three stocks; AAPL paid a dividend and was split."""


def made(form: str, output: Path, **asked: object) -> Exported:
    return export(ask(BARS, **asked), output, form, lambda *_: None)  # type: ignore[arg-type]


def qlib_field(folder: Path, symbol: str, field: str) -> pd.Series:
    """The values of a field by day, as qlib reads them: the first number is the place of the first day."""
    days = (folder / "calendars/day.txt").read_text().split()
    numbers = np.fromfile(folder / f"features/{symbol.lower()}/{field}.day.bin", "<f4")
    first = int(numbers[0])
    return pd.Series(numbers[1:], pd.to_datetime(days[first : first + len(numbers) - 1]))


def test_zipline_gets_prices_as_traded_and_the_actions_it_adjusts_for(tmp_path: Path) -> None:
    done = made("zipline", tmp_path / "bundle", symbols="AAPL,BRK.B")
    assert sorted(path.name for path in (tmp_path / "bundle/daily").iterdir()) == ["AAPL.csv", "BRK-B.csv"]
    rows = pd.read_csv(tmp_path / "bundle/daily/AAPL.csv", parse_dates=[0], index_col=0)
    traded = read(BARS, symbols="AAPL", adjust="raw").set_index("date")
    assert list(rows.columns) == [*PRICES, "volume", "dividend", "split"]
    assert rows[[*PRICES, "volume"]].equals(traded[[*PRICES, "volume"]].astype(float))
    assert rows["close"].iloc[0] == pytest.approx(4 * 100.25)
    assert rows.loc[rows["split"] != 1, "split"].to_dict() == {pd.Timestamp(stored.SPLIT): 4.0}
    assert rows.loc[rows["dividend"] != 0, "dividend"].to_dict() == {pd.Timestamp(stored.DIVIDEND): 44.0}
    assert done.files == {"daily/AAPL.csv": stored.DAYS, "daily/BRK-B.csv": stored.DAYS}


def test_a_session_without_a_bar_is_a_line_without_prices(tmp_path: Path) -> None:
    """The engine refuses a file in which a session of the calendar is missing."""
    gone = date(2024, 1, 10)
    bars = stored.bars(("HOLE",))
    keep = bars["date"] != np.datetime64(gone)
    with transaction() as connection:
        upsert_instruments(connection, [Instrument("HOLE", "Hole", AssetType.STOCK, "XNYS")])
    stored.store(table(BARS), {name: values[keep] for name, values in bars.items()})
    try:
        made("zipline", tmp_path / "bundle", symbols="HOLE")
    finally:
        stored.remove(BARS, ["HOLE"])
        stored.remove("instruments", ["HOLE"])
    rows = pd.read_csv(tmp_path / "bundle/daily/HOLE.csv", parse_dates=[0], index_col=0)
    empty = rows[rows["close"].isna()]
    assert empty.index.tolist() == [pd.Timestamp(gone)]
    assert empty[["volume", "dividend", "split"]].iloc[0].tolist() == [0.0, 0.0, 1.0]


def test_qlib_gets_adjusted_prices_and_the_factor_back_to_what_was_traded(tmp_path: Path) -> None:
    made("qlib", tmp_path / "data")
    adjusted = read(BARS, symbols="AAPL", adjust="adjusted").set_index("date")
    traded = read(BARS, symbols="AAPL", adjust="raw").set_index("date")
    found = {name: qlib_field(tmp_path / "data", "AAPL", name) for name in (*PRICES, "volume", "factor")}
    assert found["close"].index.tolist() == adjusted.index.tolist()
    for name in PRICES:
        np.testing.assert_allclose(found[name], adjusted[name], rtol=1e-6)
    np.testing.assert_allclose(found["close"] / found["factor"], traded["close"], rtol=1e-6)
    np.testing.assert_allclose(found["volume"] * found["factor"], traded["volume"], rtol=1e-6)
    lines = (tmp_path / "data/instruments/all.txt").read_text().splitlines()
    last = stored.FIRST + timedelta(days=stored.DAYS - 1)
    assert lines == [f"{name}\t{stored.FIRST}\t{last}" for name in ("AAPL", "BRK-B", "MSFT")]


def test_actions_of_one_day_are_added_up_and_those_of_a_day_without_a_bar_fall_on_the_next(tmp_path: Path) -> None:
    """A split on 10 January, when nothing was traded; two payments on the day before it, one on the last."""
    bars = stored.bars(("ODD",), days=15)
    keep = bars["date"] != np.datetime64("2024-01-10")
    bars["adj_close"][:3] = [np.nan, -1, 0]
    rows = [("2024-01-09", "dividend", 2.0), ("2024-01-09", "capital_gain", 1.0), ("2024-01-10", "split", 2.0)]
    days, kinds, values = zip(*[*rows, ("2024-01-15", "dividend", 4.0)], strict=True)
    paid = {"symbol": np.array(["ODD"] * 4, object), "date": np.array(days, "M8[D]"), "kind": np.array(kinds, object)}
    origin = {name: bars[name][:4] for name in ("source", "fetched_at")}
    with transaction() as connection:
        upsert_instruments(connection, [Instrument("ODD", "Odd", AssetType.STOCK, "XNYS")])
    stored.store(table(BARS), {name: column[keep] for name, column in bars.items()})
    stored.store(table("corporate_actions"), {**paid, "value": np.array(values), **origin})
    try:
        made("zipline", tmp_path / "bundle", symbols="ODD")
        made("qlib", tmp_path / "data", symbols="ODD")
    finally:
        for name in (BARS, "corporate_actions", "instruments"):
            stored.remove(name, ["ODD"])
    lines = pd.read_csv(tmp_path / "bundle/daily/ODD.csv", index_col=0)
    assert lines.loc[lines["dividend"] != 0, "dividend"].to_dict() == {"2024-01-09": 6.0, "2024-01-15": 4.0}
    assert lines.loc[lines["split"] != 1, "split"].to_dict() == {"2024-01-11": 2.0}
    for name in ("close", "volume", "factor"):
        assert qlib_field(tmp_path / "data", "ODD", name).isna().tolist() == [True] * 3 + [False] * 11


def test_an_instrument_of_other_days_has_its_place_in_the_calendar(tmp_path: Path) -> None:
    later = stored.FIRST + timedelta(days=20)
    bars = stored.bars(("LATE",), days=5)
    bars["date"] = np.datetime64(later) + np.array([0, 1, 2, 4, 5])
    with transaction() as connection:
        upsert_instruments(connection, [Instrument("LATE", "Late", AssetType.STOCK, "XNYS")])
    stored.store(table(BARS), bars)
    try:
        made("qlib", tmp_path / "data", symbols="AAPL,LATE,MSFT")
    finally:
        stored.remove(BARS, ["LATE"])
        stored.remove("instruments", ["LATE"])
    found = qlib_field(tmp_path / "data", "LATE", "close")
    assert found.index[0] == pd.Timestamp(later)
    np.testing.assert_allclose(found, [90.0, 90.9, 91.8, np.nan, 92.7, 93.6], rtol=1e-6)


@pytest.mark.parametrize("form", ["zipline", "qlib", "lean", "nautilus"])
def test_a_time_of_the_past_and_a_second_export_are_as_with_files(
    form: str, tmp_path: Path, before: object, capsys, monkeypatch
) -> None:
    monkeypatch.setenv("FINANCEHUB_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    made(form, tmp_path / "data", symbols="AAPL", as_of=before)
    growing = tmp_path / ".data.new/daily"
    growing.mkdir(parents=True)
    (growing / "half.csv").write_text("of an export that was killed")
    assert run(["export", BARS, "--format", form, "--output", "data", "--symbols", "AAPL,MSFT", "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["files"]) == 2
    assert not growing.exists()
    assert not list((tmp_path / "data").rglob("half.csv"))


@pytest.mark.parametrize("form", ["zipline", "qlib", "lean", "nautilus"])
def test_one_that_is_broken_off_leaves_nothing(form: str, tmp_path: Path) -> None:
    def broken_off(what: str, done: int, total: int) -> None:
        assert any((tmp_path / ".data.new").iterdir())
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        export(ask(BARS), tmp_path / "data", form, broken_off)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("name", "asked", "output", "told"),
    [
        ("indicators_daily", {}, "data", "get daily bars: export stock_prices_daily"),
        (BARS, {"columns": "close"}, "data", "leave --columns and --adjust out"),
        (BARS, {"adjust": "raw"}, "data", "leave --columns and --adjust out"),
        (BARS, {"symbols": "APPL"}, "data", "did you mean AAPL"),
        (BARS, {}, "data.csv", "are a folder"),
    ],
)
def test_what_no_engine_can_read_is_refused(name: str, asked: dict, output: str, told: str, tmp_path: Path) -> None:
    with pytest.raises(ReadError, match=told):
        export(ask(name, **asked), tmp_path / output, "qlib", lambda *_: None)
    assert list(tmp_path.iterdir()) == []


def test_two_symbols_that_would_be_one_file_are_refused(tmp_path: Path) -> None:
    others = [Instrument(symbol, "Berkshire", AssetType.STOCK, "XNYS") for symbol in ("BRK/B", "BRK-C", "BRK.C")]
    with transaction() as connection:
        upsert_instruments(connection, others)
    try:
        for pair in (["BRK.B", "BRK/B"], ["BRK-C", "BRK.C"]):
            with pytest.raises(ReadError, match=f"^{pair[0]} and {pair[1]} would be one file"):
                made("qlib", tmp_path / "data", symbols=pair)
    finally:
        stored.remove("instruments", [each.symbol for each in others])


def test_a_bundle_of_two_calendars_is_refused_with_their_names(tmp_path: Path) -> None:
    with transaction() as connection:
        upsert_instruments(connection, [Instrument("7203", "Toyota", AssetType.STOCK, "XTKS", "JPY", "Asia/Tokyo")])
    try:
        with pytest.raises(ReadError, match=r"these have XNYS, XTKS: choose with --exchange"):
            made("zipline", tmp_path / "bundle")
    finally:
        stored.remove("instruments", ["7203"])
