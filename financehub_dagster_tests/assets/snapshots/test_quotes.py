"""`quotes` and `crypto_markets`: who is asked, what is stored, and what a second run changes."""

from datetime import UTC, datetime, timedelta

import pytest

from financehub_dagster_tests.assets.snapshots.answers import days_ago, today

SYMBOLS = ["AAPL", "MSFT", "IBM", "BTC", "ETH"]
FROZEN = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)


def stored_sources(platform, table: str) -> dict[str, str]:
    return dict(platform.rows(f"select symbol, source from {table}"))


def counts(outcome, table: str) -> tuple[int, ...]:
    assert outcome.success, outcome.error
    return tuple(outcome.tables[table][f"rows_{what}"] for what in ("inserted", "updated", "unchanged", "rejected"))


def test_stocks_come_from_yahoo_and_cryptos_from_binance_in_one_question_each(platform):
    outcome = platform.run("quotes", today(), symbols=SYMBOLS, checked=True)
    assert counts(outcome, "quotes") == (5, 0, 0, 0)
    sources = {"AAPL": "yahoo", "MSFT": "yahoo", "IBM": "yahoo", "BTC": "binance", "ETH": "binance"}
    assert stored_sources(platform, "quotes") == sources
    assert outcome.tables["quotes"]["rows_by_source"] == {"yahoo": 3, "binance": 2}
    calls = platform.sandbox.calls()["by_path"]
    assert calls["/v7/finance/quote"] == 1
    assert calls["/api/v3/ticker/24hr"] == 1
    shown = outcome.tables["quotes"]["movers"]
    assert {record.data["symbol"] for record in shown.records} == set(SYMBOLS)


def test_a_quote_stands_under_the_time_it_was_made(platform):
    saturday = datetime(2026, 11, 21, 12, tzinfo=UTC)
    platform.sandbox.freeze(saturday)
    platform.run("quotes", today(), symbols=["AAPL", "BTC"])
    times = dict(platform.rows("select symbol, quoted_at from quotes"))
    assert times["AAPL"] == datetime(2026, 11, 20, 21, tzinfo=UTC)
    assert times["BTC"] == saturday


@pytest.mark.parametrize("table", ["quotes", "crypto_markets"])
def test_a_second_run_with_the_same_answers_inserts_nothing(keyed_platform, table):
    keyed_platform.sandbox.freeze(FROZEN)
    first = keyed_platform.run(table, today(), symbols=SYMBOLS)
    before = keyed_platform.rows(f"select * from {table} order by symbol, quoted_at")
    assert counts(first, table) == (len(before), 0, 0, 0)
    assert len(before) == (5 if table == "quotes" else 2)
    assert counts(keyed_platform.run(table, today(), symbols=SYMBOLS), table) == (0, 0, len(before), 0)
    assert keyed_platform.rows(f"select * from {table} order by symbol, quoted_at") == before


def test_a_price_older_than_the_stored_one_changes_nothing(platform):
    platform.run("quotes", today(), symbols=["BTC"])
    platform.sandbox.freeze(FROZEN)
    assert counts(platform.run("quotes", today(), symbols=["BTC"]), "quotes") == (0, 0, 1, 0)
    assert platform.scalar("select count(*) from quotes") == 1


def test_a_price_from_the_future_is_rejected_by_name(platform):
    platform.sandbox.freeze(datetime.now(UTC) + timedelta(days=365))
    assert counts(platform.run("quotes", today(), symbols=["BTC"]), "quotes") == (0, 0, 0, 1)
    assert platform.rows("select table_name, symbol, rule from rejected_rows") == [("quotes", "BTC", "not_ahead")]
    platform.sandbox.freeze(None)
    assert counts(platform.run("quotes", today(), symbols=["BTC"]), "quotes") == (1, 0, 0, 0)


@pytest.mark.parametrize("made", [0, 1_795_802_400 / 1000], ids=["none", "seconds read as milliseconds"])
def test_a_price_of_1970_is_rejected_by_name(database, made):
    from financehub_dagster.ingest.outcome import Outcome
    from financehub_dagster.ingest.snapshot_rows import store_prices
    from financehub_dagster.providers.base import Answers
    from financehub_dagster.providers.frames import table
    from financehub_dagster.storage.database.engine import transaction

    now = datetime.now(UTC)
    times = {"MSFT": now, "AAPL": datetime.fromtimestamp(made, UTC)}
    told = [{"symbol": symbol, "price": 2.5, "currency": "USD", "quoted_at": at} for symbol, at in times.items()]
    outcome = Outcome("quotes")
    with transaction() as connection:
        store_prices(connection, Answers(table("quotes", told), {}, "yahoo", now, 1), "run", outcome)
        assert connection.exec_driver_sql("select symbol from quotes").scalars().all() == ["MSFT"]
        assert connection.exec_driver_sql("select symbol, rule from rejected_rows").all() == [("AAPL", "dated")]


def test_markets_come_from_coingecko_and_from_coinmarketcap_while_it_is_down(keyed_platform):
    assert keyed_platform.run("crypto_markets", today(), symbols=SYMBOLS).success
    assert stored_sources(keyed_platform, "crypto_markets") == {"BTC": "coingecko", "ETH": "coingecko"}
    keyed_platform.execute("delete from crypto_markets")
    keyed_platform.sandbox.fault("status", vendor="coingecko", status=503)
    keyed_platform.sandbox.clear_calls()
    outcome = keyed_platform.run("crypto_markets", today(), symbols=SYMBOLS)
    assert counts(outcome, "crypto_markets") == (2, 0, 0, 0)
    calls = keyed_platform.sandbox.calls()["by_vendor"]
    assert calls["coingecko"] > 1, "those that brought no answer count"
    assert outcome.tables["crypto_markets"]["vendor_calls"] == calls["coingecko"] + calls["coinmarketcap"]
    assert stored_sources(keyed_platform, "crypto_markets") == {"BTC": "coinmarketcap", "ETH": "coinmarketcap"}
    assert keyed_platform.scalar("select count(*) from task_failures") == 0


def test_an_unknown_symbol_becomes_a_dead_letter_and_leaves_the_others_alone(platform):
    platform.execute(
        "insert into instruments (symbol, name, asset_type, exchange, currency, timezone)"
        " values ('NOPE', 'Nothing Corp', 'stock', 'XNYS', 'USD', 'America/New_York')"
    )
    outcome = platform.run("quotes", today(), symbols=["AAPL", "NOPE"], checked=True)
    assert counts(outcome, "quotes") == (1, 0, 0, 0)
    assert outcome.tables["quotes"]["instruments_failed"] == 1
    dead = "select task_name, partition_key, symbol, provider, status from task_failures"
    assert platform.rows(dead) == [("quotes", today(), "NOPE", "yahoo", "open")]
    check = platform.checks(outcome, "quotes")["no_open_failures"]
    assert not check.passed
    assert "NOPE" in str(check.metadata["offending_rows"].value)


def test_one_answer_makes_up_for_what_failed_on_any_day_before(platform):
    platform.execute(
        "insert into task_failures (task_name, partition_key, symbol, exception)"
        f" values ('quotes', '{days_ago(1)}', 'AAPL', 'down'), ('quotes', '{days_ago(1)}', 'MSFT', 'down')"
    )
    platform.run("quotes", today(), symbols=["AAPL"])
    assert platform.rows("select symbol, status from task_failures order by symbol") == [
        ("AAPL", "resolved"),
        ("MSFT", "open"),
    ]


@pytest.mark.parametrize(("first", "last"), [(days_ago(2), days_ago(2)), (days_ago(2), today())])
def test_a_day_that_is_over_is_refused_in_one_line_and_asks_nobody(platform, first, last):
    outcome = platform.run("quotes", first, last, symbols=["AAPL"])
    assert not outcome.success
    assert "cannot be filled: vendors say only what is so now; choose the running partition alone" in outcome.error
    assert platform.sandbox.calls()["total"] == 0


def test_a_table_whose_vendors_are_all_off_says_what_to_set_and_fails_nothing(platform):
    outcome = platform.run("crypto_markets", today())
    assert counts(outcome, "crypto_markets") == (0, 0, 0, 0)
    assert "off: set COINGECKO_API_KEYS or COINMARKETCAP_API_KEYS" in str(outcome.tables["crypto_markets"]["off"])
    assert platform.scalar("select count(*) from task_failures") == 0
    assert platform.sandbox.calls()["total"] == 0


def test_a_spent_budget_puts_work_off_instead_of_failing_it(keyed_platform):
    for vendor in ("coingecko", "coinmarketcap"):
        keyed_platform.sandbox.fault("error", vendor=vendor, situation="month_quota")
    outcome = keyed_platform.run("crypto_markets", today(), symbols=["BTC"])
    assert counts(outcome, "crypto_markets") == (0, 0, 0, 0)
    assert outcome.tables["crypto_markets"]["instruments_deferred"] == 1
    assert keyed_platform.scalar("select count(*) from task_failures") == 0
    waiting = keyed_platform.rows("select task_name, partition_key, symbol, provider, until from deferred_work")
    [(task, partition, symbol, provider, until)] = waiting
    assert (task, symbol, provider) == ("crypto_markets", "BTC", "coingecko")
    assert partition == until.astimezone(UTC).date().isoformat()
    assert until > datetime.now(UTC)


def test_an_answer_is_a_dead_letter_or_deferred_and_never_both(keyed_platform):
    live = "select count(*) from task_failures where symbol = 'BTC' and status in ('open', 'retrying', 'parked')"
    waiting = "select count(*) from deferred_work"

    def left(*vendors, **fault):
        keyed_platform.sandbox.clear_faults()
        for vendor in vendors:
            keyed_platform.sandbox.fault(vendor=vendor, **fault)
        keyed_platform.execute("delete from breakers")
        keyed_platform.execute("delete from api_keys")
        keyed_platform.run("crypto_markets", today(), symbols=["BTC"])
        return keyed_platform.scalar(live), keyed_platform.scalar(waiting)

    both = ("coingecko", "coinmarketcap")
    assert left(*both, kind="error", situation="month_quota") == (0, 1)
    assert left(*both, kind="garbage") == (1, 0)
    assert left(*both, kind="error", situation="month_quota") == (0, 1)
    assert left() == (0, 0)


def test_checks_name_the_row_and_the_instrument_that_is_late(platform):
    platform.run("quotes", today(), symbols=["AAPL", "BTC"])
    platform.execute("update quotes set price = -1 where symbol = 'BTC'")
    platform.execute("update quotes set quoted_at = quoted_at - interval '40 days' where symbol = 'AAPL'")
    platform.execute("update instruments set is_active = symbol in ('AAPL', 'BTC')")
    results = recheck(platform)
    assert {name for name, result in results.items() if not result.passed} == {"schema", "sanity", "freshness"}
    assert "positive" in str(results["sanity"].metadata["offending_rows"].value)
    assert "AAPL" in str(results["freshness"].metadata["offending_rows"].value)
    assert "BTC" not in str(results["freshness"].metadata["offending_rows"].value)


def recheck(platform):
    """The checks alone, as the webserver's Execute button runs them."""
    import dagster as dg

    job = platform.definitions.resolve_implicit_global_asset_job_def()
    keys = {
        key
        for key in platform.definitions.resolve_asset_graph().asset_check_keys
        if key.asset_key == dg.AssetKey("quotes")
    }
    result = job.get_subset(asset_check_selection=keys, asset_selection=set()).execute_in_process(
        instance=platform.instance, raise_on_error=False
    )
    return {evaluation.check_name: evaluation for evaluation in result.get_asset_check_evaluations()}
