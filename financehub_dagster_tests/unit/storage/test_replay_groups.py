"""Which dead letters one run does again, however many there are."""

from typing import Any

from financehub_dagster.automation.failures.replay_groups import Group, grouped


def row(number: int, symbol: str = "", partition: str = "2024-01-01", **kwargs: Any) -> dict[str, Any]:
    return {
        "id": number,
        "task_name": "stock_prices_daily",
        "partition_key": partition,
        "symbol": symbol,
        "kwargs": kwargs,
    }


def test_rows_of_one_partition_and_config_are_one_run_in_the_order_of_their_first():
    rows = [
        row(1, "AAPL"),
        row(2, "AAPL", "2024-02-01"),
        row(3, symbols=["GE", "MSFT"], config={}),
        row(4, "KO", config={"b": 1, "a": 2}),
        row(5, "PG", config={"a": 2, "b": 1}),
        row(6, "IBM", providers=["yahoo"]),
    ]
    table = "stock_prices_daily"
    assert grouped(rows) == [
        Group(table, "2024-01-01", {}, frozenset({"AAPL", "GE", "MSFT"}), (1, 3)),
        Group(table, "2024-02-01", {}, frozenset({"AAPL"}), (2,)),
        Group(table, "2024-01-01", {"a": 2, "b": 1}, frozenset({"KO", "PG"}), (4, 5)),
        Group(table, "2024-01-01", {"providers": ["yahoo"]}, frozenset({"IBM"}), (6,)),
    ]


def test_a_row_of_all_instruments_makes_its_group_one_of_all():
    [group] = grouped([row(1, "AAPL"), row(2, symbols=None)])
    assert (group.symbols, group.run_config) == (None, {})


def test_sixty_six_thousand_rows_are_grouped_in_one_pass():
    """Adding them to their group one by one copied three billion ids."""
    [group] = grouped(row(number, f"S{number}") for number in range(66_000))
    assert len(group.ids) == len(group.run_config["symbols"]) == 66_000
