"""Budgets and keys from outside: `financehub usage`, and what a platform without keys says about it."""

import json

import pytest

from financehub_dagster.cli.app import run
from financehub_dagster.settings import get_settings
from financehub_dagster.storage.rate_limits import api_keys, usage

UNIVERSE = """
- {symbol: AAPL, name: Apple Inc., asset_type: stock, exchange: XNAS}
- {symbol: MSFT, name: Microsoft, asset_type: stock, exchange: XNAS}
- {symbol: BTC, name: Bitcoin, asset_type: crypto, exchange: XXXX, aliases: {binance: BTCUSDT}}
"""
KEYED = ("alpha_vantage", "coingecko", "coinmarketcap", "finnhub", "twelve_data", "newsapi")
FILL = ["backfill", "stock_prices_daily", "--from", "2015-03", "--to", "2015-03"]


@pytest.fixture
def keyless(folder, database, dagster_database, sandbox, monkeypatch):
    """A folder whose vendors are the sandbox and ask for keys that nobody has."""
    for name in KEYED:
        monkeypatch.delenv(f"{name.upper()}_API_KEYS", raising=False)
    get_settings.cache_clear()
    (folder / "mine.yaml").write_text(UNIVERSE)
    assert run(["instruments", "import", "mine.yaml"]) == 0
    return sandbox


def test_without_keys_the_platform_runs_and_says_once_which_vendors_are_off(keyless, folder, capsys):
    capsys.readouterr()
    assert run(FILL) == 0
    told = capsys.readouterr()
    [line] = [line for line in told.err.splitlines() if "off" in line]
    assert line.startswith("off without a key: ")
    assert all(f"{name} ({name.upper()}_API_KEYS)" in line for name in KEYED)
    assert "off" not in told.out
    assert "_API_KEYS" not in (folder / ".financehub/live/logs/runs.log").read_text()
    assert set(keyless.calls()["by_vendor"]) == {"yahoo"}


def test_with_a_key_a_vendor_is_not_off_and_usage_shows_what_a_fill_used_and_what_each_plan_leaves(
    keyless, database, monkeypatch, capsys
):
    monkeypatch.setenv("NEWSAPI_API_KEYS", "canary-of-newsapi-4711")
    get_settings.cache_clear()
    capsys.readouterr()
    assert run(FILL) == 0
    filling = capsys.readouterr().err
    assert "finnhub (FINNHUB_API_KEYS)" in filling
    assert "newsapi" not in filling
    assert "canary" not in filling
    assert run(["usage", "--json"]) == 0
    told = capsys.readouterr().out
    answer = json.loads(told)
    windows = {(each["provider"], each["window"]): each for each in answer["windows"]}
    assert windows["yahoo", "second"]["calls"] == 2
    assert windows["yahoo", "second"]["place"].startswith("@127.0.0.1:")
    left = {name: windows["newsapi", name]["left"] for name in ("half_day", "day")}
    assert left == {"half_day": 50, "day": 100}
    assert windows["newsapi", "day"]["key"].startswith("4711-")
    assert answer["off"] == {name: f"{name.upper()}_API_KEYS" for name in KEYED if name != "newsapi"}
    assert "canary" not in told


def test_people_see_a_table_with_stand_ins_resting_keys_and_vendors_that_are_off(keyless, database, capsys):
    usage.count(database.engine, "finnhub", "4711-abcd", "ok")
    api_keys.bench(database.engine, "finnhub", "4711-abcd", cause="BadKey", reason="finnhub: refused", seconds=600.0)
    capsys.readouterr()
    assert run(["usage"]) == 0
    lines = [line.strip() for line in capsys.readouterr().out.splitlines()]
    [yahoo] = [line for line in lines if line.startswith("yahoo")]
    assert yahoo.split()[:3] == ["yahoo", "ip*", "second"]
    assert any(line.startswith("* base URL override 127.0.0.1:") for line in lines)
    [resting] = [line for line in lines if "rests until" in line]
    assert resting.startswith("finnhub 4711-abcd rests until 20")
    assert resting.endswith(" UTC: finnhub: refused")
    assert lines[-1].startswith("off without a key: alpha_vantage (ALPHA_VANTAGE_API_KEYS), ")


def test_before_anything_was_set_up_the_plans_are_shown(folder, empty_database, monkeypatch, capsys):
    monkeypatch.setenv("FINANCEHUB_DATABASE_URL", empty_database.render_as_string(hide_password=False))
    monkeypatch.setenv("FINNHUB_API_KEYS", "canary-of-finnhub-4711")
    get_settings.cache_clear()
    assert run(["usage", "--json"]) == 0
    windows = json.loads(capsys.readouterr().out)["windows"]
    assert [(w["window"], w["amount"], w["left"]) for w in windows if w["provider"] == "finnhub"] == [
        ("second", 30, None),
        ("minute", 60, 60),
    ]
