"""The one order of instruments that everything follows: ticks, healing, backfills, reports.

Belongs here: the order. Does not belong here: the importance it begins with (market.importance).
"""

RANK = "importance desc nulls last, market_cap desc nulls last, symbol"
"""`order by` for rows of `instruments`: the most important first. Until the first night has computed an importance, and
for instruments added since, the largest market capitalisation first."""
