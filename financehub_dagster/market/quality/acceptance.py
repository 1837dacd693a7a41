"""Which of the rows a vendor sent a table takes: by the limits of its columns, and by the rules about whole rows.

Belongs here: judging rows of any table that vendors fill, each row alone. Does not belong here: the limits of a table
(tables), the rules (`bar_rules`, `snapshot_rules`), or writing anything down. The schema that a table's blocking check
applies is made of the same limits: what is taken here never breaks it. Imports numpy and pandas: import it inside
functions.
"""

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from financehub_dagster.market.quality import bar_rules, snapshot_rules
from financehub_dagster.market.quality.limits import Kind, Limit

type Mask = NDArray[np.bool_]


class Judged(NamedTuple):
    """What became of rows.

    good: those the table takes. rejected: the others as they were sent, with the first `rule` each breaks. unread: rows
    of `good` as they were sent, once for each value that is left out there because it breaks its limit and may be
    unknown, with its `rule`.
    """

    good: pd.DataFrame
    rejected: pd.DataFrame
    unread: pd.DataFrame


def judge(limits: Mapping[str, Limit], rules: str | None, rows: pd.DataFrame) -> Judged:
    """Judge rows by the `limits` of their columns and by the named `rules` about whole rows.

    Columns without a limit, and the index, are carried along. rules is "bar", one of `snapshot_rules.RULES`,
    "article" or None. A value that breaks the limit of a column that may be unknown becomes unknown; any other costs
    its row.
    """
    broken = {name: ~_keeps(limit, rows[name]) for name, limit in limits.items() if name in rows}
    broken = {name: mask for name, mask in broken.items() if mask.any()}
    if not broken:
        good, rejected = _by_rules(rules, rows)
        return Judged(good, rejected, rows.iloc[:0].assign(rule=""))
    known = rows.copy(deep=False)
    unread = []
    for name, limit in limits.items():
        if limit.optional and name in broken:
            known[name] = rows[name].mask(broken[name])
            unread.append(rows[broken[name]].assign(rule=f"{name}_{limit.rule}"))
    good, rejected = _by_rules(rules, known)
    rule = np.full(len(good), "", object)
    kept = rows.index.get_indexer(good.index) if len(rejected) else np.arange(len(rows))
    for name, limit in limits.items():
        if not limit.optional and name in broken:
            rule[(rule == "") & broken[name][kept]] = f"{name}_{limit.rule}"
    wrong = rule != ""
    if wrong.any():
        rejected = pd.concat([rejected, good[wrong].assign(rule=rule[wrong])]).sort_index()
        good = good[~wrong]
    rejected = rows.loc[rejected.index].assign(rule=rejected["rule"])
    left_out = pd.concat(unread) if unread else rows.iloc[:0].assign(rule="")
    return Judged(good, rejected, left_out[left_out.index.isin(good.index)] if len(left_out) else left_out)


def _by_rules(rules: str | None, rows: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    if rules is None:
        return rows, rows.iloc[:0].assign(rule="")
    if rules == "bar":
        return bar_rules.judge(rows)
    if rules == "article":
        return snapshot_rules.judge_news(rows)
    return snapshot_rules.judge(rules, rows)


def _keeps(limit: Limit, values: "pd.Series[Any]") -> Mask:
    """Value by value: does it keep the limit? One that is missing does where it may be."""
    missing = values.isna().to_numpy(bool)
    if limit.kind is Kind.NUMBER:
        numbers = values.to_numpy(np.float64, na_value=np.nan)
        with np.errstate(invalid="ignore"):
            kept = np.isfinite(numbers) & (numbers > limit.above) & (numbers >= limit.least)
            kept &= numbers <= limit.most
    elif limit.kind is Kind.TEXT:
        codes, texts = _distinct(values)
        kept = np.array([_is_text(limit, text) for text in texts] + [False], np.bool_)[codes]
    else:
        kept = ~missing
        if limit.kind is Kind.DAY:
            kept &= (values == values.dt.normalize()).to_numpy(bool)
    return np.asarray(kept | missing if limit.optional else kept & ~missing)


def _distinct(values: "pd.Series[Any]") -> tuple[NDArray[np.int64], "pd.Index[Any]"]:
    """Where each value stands among the distinct ones, -1 for a missing one, or one that cannot be told from others."""
    try:
        return pd.factorize(values)
    except TypeError:  # a list or an object in the place of a text
        return pd.factorize(values.where(values.map(lambda each: isinstance(each, str))))


def _is_text(limit: Limit, text: object) -> bool:
    """PostgreSQL has no NUL in its texts, and no half of a surrogate pair."""
    if not isinstance(text, str) or not text or "\0" in text or any("\ud800" <= each <= "\udfff" for each in text):
        return False
    if limit.choices:
        return text in limit.allowed
    return limit.pattern is None or re.match(limit.pattern, text) is not None
