"""docs/indicators.md says what the declarations say, and its example runs."""

import re
import subprocess
import sys

import numpy as np

from financehub_dagster.market.indicators.columns import INDICATORS_1H, IndicatorColumn
from financehub_dagster.market.indicators.engine import compute
from financehub_dagster.market.intraday.budget_planner import Decision
from financehub_dagster.market.signals.rules import RULES, Pattern, Rule
from financehub_dagster_tests.fixtures.folder import REPOSITORY
from financehub_dagster_tests.properties.markets import random_bars

PAGE = (REPOSITORY / "docs" / "indicators.md").read_text(encoding="utf-8")
SESSIONS = np.repeat(np.datetime64("2024-01-01"), 300)
VALUES = compute(*random_bars(300).columns, sessions=SESSIONS, columns=INDICATORS_1H)
WARM_UP = {name: int(np.isfinite(values).argmax()) + 1 for name, values in VALUES.items()}


def row(column: IndicatorColumn) -> str:
    engine = f"TA-Lib {column.function}" if column.engine == "talib" else f"our `{column.function}`"
    return f"| `{column.name}` | {column.description} | {column.unit} | {engine} | {WARM_UP[column.name]} |"


def test_the_tables_of_the_page_are_the_declared_lists() -> None:
    described = [line for line in PAGE.splitlines() if line.startswith("| `")]
    assert described == [row(column) for column in INDICATORS_1H]


def test_the_example_of_the_page_runs() -> None:
    example = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    done = subprocess.run([sys.executable, "-c", "\n".join(example)], check=True, capture_output=True, text=True)
    assert float(done.stdout) > 29


def test_the_page_on_signals_lists_every_rule() -> None:
    page = (REPOSITORY / "docs" / "signals.md").read_text(encoding="utf-8")
    described = [line for line in page.splitlines() if line.startswith("| `")]
    assert described[: len(RULES)] == [rule_row(rule) for rule in RULES]


def rule_row(rule: Rule | Pattern) -> str:
    if isinstance(rule, Pattern):
        return f"| `{rule.name}` | {rule.definition} | `{rule.function}` | {'neutral' if rule.neutral else 'signed'} |"
    entry, leave = (f"{when.title}: {when}" for when in (rule.entry, rule.exit))
    return f"| `{rule.name}` | {rule.family} | {rule.definition} | {entry} | {leave} |"


def test_the_page_on_intraday_bars_lists_every_decision_of_the_budget_planner() -> None:
    page = (REPOSITORY / "docs" / "intraday.md").read_text(encoding="utf-8")
    table = page[page.index("| decision |") :]
    listed = re.findall(r"^\| `([^`]+)` \|", table, re.MULTILINE)
    assert set(listed) == {str(decision) for decision in Decision}
