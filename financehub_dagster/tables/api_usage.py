"""`api_usage`: vendor calls by day and outcome."""

from financehub_dagster.tables.declaration import Column, Maintained, Table

TABLE = Table(
    name="api_usage",
    comment="Vendor calls by day and outcome.",
    columns=(
        Column("provider", "text", "the vendor", key=True),
        Column("scope", "text", "ip, or a key's fingerprint", key=True),
        Column("day", "date", "UTC", key=True),
        Column("outcome", "text", "ok, or the name of the error", key=True),
        Column("calls", "bigint", "requests that left, whatever came back"),
        Column("weight", "bigint", "what they cost in the vendor's units"),
        Column("last_at", "timestamp with time zone", "when the last of these calls ended", nullable=True),
        Column(
            "clock_offset",
            "double precision",
            "seconds by which the vendor's clock was ahead of this machine's, by the last Date header",
            nullable=True,
        ),
    ),
    grain="none",
    filled=Maintained(),
    group="operations",
    source=("http",),
    details="Written by every request that leaves, whichever run makes it. Each observation holds `budgets`: used and"
    " left of every vendor, key and window, as `financehub usage` shows them, and one number for each vendor and"
    " window, so that the plots show how budgets are spent and come back. Keys are named by fingerprints.",
)
