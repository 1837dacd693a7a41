"""The notebook of the documentation runs as it stands, and draws prices with indicators."""

import json
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest

from financehub_dagster.cli.app import run
from financehub_dagster_tests.fixtures.folder import REPOSITORY

NOTEBOOK = REPOSITORY / "docs" / "reading.ipynb"
UNIVERSE = """
- {symbol: AAPL, name: Apple Inc., asset_type: stock, exchange: XNAS}
- {symbol: MSFT, name: Microsoft, asset_type: stock, exchange: XNAS}
"""


def test_the_notebook_draws_prices_with_indicators(
    folder: Path, database: object, dagster_database: object, sandbox: object, capsys: pytest.CaptureFixture[str]
) -> None:
    mpl.use("Agg")
    (folder / "mine.yaml").write_text(UNIVERSE)
    assert run(["instruments", "import", "mine.yaml"]) == 0
    for table in ("stock_prices_daily", "indicators_daily"):
        assert run(["backfill", table, "--from", "2014-03", "--to", "2014-12"]) == 0
    cells = json.loads(NOTEBOOK.read_text())["cells"]
    known: dict[str, Any] = {}
    for cell in cells:
        if cell["cell_type"] == "code":
            exec("".join(cell["source"]), known)
    frame = known["frame"]
    assert len(frame) == 149  # sessions from June to December 2014
    assert frame[["close", "sma_50", "bb_upper", "bb_lower", "rsi_14"]].notna().all(axis=None)
    drawn = [line.get_ydata() for axes in known["axes"] for line in axes.get_lines()]
    for name in ("sma_50", "bb_upper", "bb_lower", "rsi_14"):
        assert any(np.array_equal(values, frame[name].to_numpy()) for values in drawn), name
    assert [line.get_label() for line in known["growth"].get_lines()] == ["AAPL", "MSFT"]
