"""The sandbox's page names everything that can be asked of it, and its example runs."""

import re
from typing import get_args

import pytest

from financehub_dagster.sandbox.faults.control import Control
from financehub_dagster.sandbox.faults.faults import Kind
from financehub_dagster.sandbox.market.market import Market
from financehub_dagster.sandbox.market.recordings import recorded_daily, recorded_symbols
from financehub_dagster_tests.fixtures.folder import REPOSITORY

PAGE = (REPOSITORY / "docs" / "sandbox.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("kind", get_args(Kind))
def test_every_kind_of_fault_is_explained(kind: str) -> None:
    assert f"| `{kind}` |" in PAGE


def test_every_control_endpoint_is_explained() -> None:
    paths = {route.path for route in Control(Market(), []).routes}
    assert paths == set(re.findall(r"`(?:GET|POST|DELETE) (/[a-z]*)", PAGE))


def test_the_spans_of_the_recordings_are_the_ones_stated() -> None:
    stocks = [recorded_daily(symbol) for symbol in recorded_symbols() if symbol != "BTC"]
    assert f"| {len(stocks)} US stocks, daily | recorded {min(each.date[0] for each in stocks)} " in PAGE
    assert {str(each.date[-1]) for each in stocks} == {"2018-02-07"}
    bitcoin = recorded_daily("BTC")
    assert f"| BTC, daily | recorded {bitcoin.date[0]} to {bitcoin.date[-1]} | generated |" in PAGE


def test_the_example_runs(capsys: pytest.CaptureFixture[str]) -> None:
    (example,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    exec(compile(example, "docs/sandbox.md", "exec"), {})
    addresses, counted = capsys.readouterr().out.splitlines()
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/yahoo http://127\.0\.0\.1:\d+/binance", addresses)
    assert counted == "{}"
