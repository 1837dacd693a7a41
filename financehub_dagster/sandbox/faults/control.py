"""The control endpoint /_control: how a test changes the sandbox and reads what it saw.

Belongs here: the control interface and its payloads. Does not belong here: what the changes do. Every payload is
checked; a wrong one is answered 422 with one line per problem and changes nothing.
"""

from collections.abc import Callable, Sequence
from datetime import date
from math import nan
from typing import Any, Self

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError, model_validator
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from financehub_dagster.market.exchanges import exchanges
from financehub_dagster.market.instruments import AssetType, Instrument
from financehub_dagster.sandbox.calls import Journal
from financehub_dagster.sandbox.errors import SandboxError
from financehub_dagster.sandbox.faults.faults import Fault, Faults
from financehub_dagster.sandbox.market.amendments import BAR_COLUMNS
from financehub_dagster.sandbox.market.listings import synthetic
from financehub_dagster.sandbox.market.market import Market
from financehub_dagster.sandbox.vendors.accounts import Plan
from financehub_dagster.sandbox.vendors.vendor import Vendor, json_response, path_of


class _Payload(BaseModel):
    model_config = ConfigDict(extra="forbid")


class _Listing(_Payload):
    count: int = Field(ge=1, le=9999)
    prefix: str = Field("SIM", pattern=r"^[A-Z]{1,8}$")
    asset_type: AssetType = AssetType.STOCK
    exchange: str = "XNYS"


class _Symbol(_Payload):
    symbol: str


class _Split(_Symbol):
    date: date
    ratio: float = Field(gt=0)


class _Dividend(_Symbol):
    """A dividend; vendor: the one that alone reports it."""

    date: date
    amount: float = Field(gt=0)
    vendor: str | None = None


class _Values(_Symbol):
    """Columns of a bar: absent ones stay, null ones are served as missing."""

    open: float | None = None
    high: float | None = None
    low: float | None = None
    close: float | None = None
    volume: float | None = None


class _Bar(_Values):
    """New values of one bar; `drop` takes the whole bar away. vendor: the one that alone serves it so."""

    date: date
    vendor: str | None = None
    drop: bool = False


class _Clock(_Payload):
    """A time with offset to stop the market's clock at or, `running`, to let it run from; null: the real time."""

    now: AwareDatetime | None
    running: bool = False


class _Minutes(_Values):
    """One minute's new values, or a stretch dropped.

    first and last are times with offset; last is outside of the stretch. vendor: the stretch is missing only there.
    restore: all minutes of the symbol are as they were.
    """

    first: AwareDatetime | None = None
    last: AwareDatetime | None = None
    vendor: str | None = None
    restore: bool = False

    @model_validator(mode="after")
    def _names_minutes(self) -> Self:
        if not self.restore and self.first is None:
            raise ValueError("first is needed unless all minutes are restored")
        return self


class _Limit(_Payload):
    vendor: str
    calls: int | None = Field(ge=0)
    window_seconds: float | None = Field(None, gt=0)


class _Key(_Payload):
    """What a vendor makes of an API key from now on."""

    vendor: str
    key: str = Field(min_length=1)
    valid: bool = True
    plan: Plan = "free"


class _CallsQuery(_Payload):
    vendor: str | None = None
    symbol: str | None = None
    detail: bool = False


class _Latency(_Payload):
    milliseconds: float = Field(ge=0, le=60_000)


class Control:
    """Everything a test can change; `latency` is in seconds per answer."""

    def __init__(self, market: Market, vendors: Sequence[Vendor], latency: float = 0.0) -> None:
        self.market = market
        self.vendors = {vendor.name: vendor for vendor in vendors}
        self.faults = Faults()
        self.journal = Journal()
        self.latency = latency
        self._initial_latency = latency

    @property
    def routes(self) -> Sequence[Route]:
        """The endpoints below /_control."""
        return [
            _route("DELETE", "/", lambda _: self._reset()),
            _route("GET", "/calls", self._calls, _CallsQuery),
            _route("DELETE", "/calls", lambda _: self.journal.reset()),
            _route("GET", "/faults", lambda _: self._faults()),
            _route("DELETE", "/faults", lambda _: self.faults.reset()),
            _route("POST", "/faults", self._add_fault, Fault),
            _route("POST", "/listings", self._list, _Listing),
            _route("POST", "/delistings", lambda asked: self.market.listed.remove(asked.symbol), _Symbol),
            _route("POST", "/splits", self._split, _Split),
            _route("POST", "/dividends", self._dividend, _Dividend),
            _route("POST", "/bars", self._bar, _Bar),
            _route("POST", "/minutes", self._minutes, _Minutes),
            _route("POST", "/clock", self._clock, _Clock),
            _route("POST", "/limits", self._limit, _Limit),
            _route("POST", "/keys", self._key, _Key),
            _route("POST", "/latency", self._set_latency, _Latency),
        ]

    def _reset(self) -> None:
        self.faults.reset()
        self.journal.reset()
        self.market.reset()
        self.latency = self._initial_latency
        for vendor in self.vendors.values():
            vendor.reset()

    def _calls(self, query: _CallsQuery) -> dict[str, Any]:
        vendor = None if query.vendor is None else self._vendor(query.vendor).name
        return self.journal.summary(vendor, query.symbol, query.detail)

    def _faults(self) -> list[dict[str, Any]]:
        return [fault.model_dump() for fault in self.faults.active]

    def _add_fault(self, fault: Fault) -> list[dict[str, Any]]:
        vendor = None if fault.vendor is None else self._vendor(fault.vendor)
        if fault.situation is not None:
            if vendor is None:
                raise SandboxError("kind error needs a vendor, whose words are to be used")
            if fault.situation not in vendor.situations:
                known = ", ".join(sorted(vendor.situations))
                raise SandboxError(f"vendor {vendor.name} knows no {fault.situation}; there are {known}")
        if fault.quirk is not None and (vendor is None or fault.quirk not in vendor.quirks):
            able = ", ".join(name for name, each in self.vendors.items() if fault.quirk in each.quirks)
            raise SandboxError(f"kind {fault.quirk} needs a vendor that does so: {able}")
        self.faults.add(fault if vendor is None else fault.model_copy(update={"vendor": vendor.name}))
        return self._faults()

    def _list(self, asked: _Listing) -> list[dict[str, Any]]:
        if asked.exchange not in exchanges():
            raise SandboxError(f"exchange {asked.exchange} is not known")
        instruments = synthetic(asked.count, asked.prefix, asked.asset_type, asked.exchange)
        self.market.listed.add(instruments)
        return [
            {"symbol": each.symbol, "exchange": each.exchange, "aliases": dict(each.aliases)} for each in instruments
        ]

    def _split(self, split: _Split) -> None:
        self.market.amendments.declare_split(self._known(split).symbol, split.date, split.ratio)

    def _dividend(self, dividend: _Dividend) -> None:
        symbol, vendor = self._known(dividend).symbol, self._named(dividend.vendor)
        self.market.amendments.declare_dividend(symbol, dividend.date, dividend.amount, vendor)

    def _bar(self, bar: _Bar) -> None:
        symbol, vendor = self._known(bar).symbol, self._named(bar.vendor)
        if bar.drop:
            self.market.amendments.drop_bar(symbol, bar.date, vendor)
            return
        self.market.amendments.edit_bar(symbol, bar.date, _values(bar), vendor)

    def _minutes(self, asked: _Minutes) -> None:
        symbol, amendments = self._known(asked).symbol, self.market.amendments
        vendor = self._named(asked.vendor)
        if asked.restore or asked.first is None:
            amendments.restore_minutes(symbol)
        elif asked.last is not None:
            amendments.drop_minutes(symbol, int(asked.first.timestamp()), int(asked.last.timestamp()), vendor)
        else:
            amendments.edit_minute(symbol, int(asked.first.timestamp()), _values(asked))

    def _clock(self, clock: _Clock) -> dict[str, float]:
        self.market.set_clock(None if clock.now is None else clock.now.timestamp(), running=clock.running)
        return {"now": self.market.now()}

    def _limit(self, asked: _Limit) -> None:
        self._vendor(asked.vendor).limit(asked.calls, asked.window_seconds)

    def _key(self, asked: _Key) -> None:
        self._vendor(asked.vendor).declare_key(asked.key, asked.valid, asked.plan)

    def _set_latency(self, asked: _Latency) -> None:
        self.latency = asked.milliseconds / 1000

    def _known(self, payload: _Symbol) -> Instrument:
        instrument = self.market.listed.get(payload.symbol)
        if instrument is None:
            raise SandboxError(f"{payload.symbol} is not listed in the sandbox")
        return instrument

    def _named(self, vendor: str | None) -> str | None:
        """The platform's name for a vendor; None: every one."""
        return None if vendor is None else self._vendor(vendor).name

    def _vendor(self, name: str) -> Vendor:
        """A vendor by the platform's name for it or by its path."""
        for vendor in self.vendors.values():
            if name in (vendor.name, path_of(vendor.name)):
                return vendor
        raise SandboxError(f"vendor {name} is not played here; there are {', '.join(sorted(self.vendors))}")


def _values(bar: _Values) -> dict[str, float]:
    """The columns that were sent; null is a missing value."""
    sent = {name: getattr(bar, name) for name in BAR_COLUMNS if name in bar.model_fields_set}
    return {name: nan if value is None else value for name, value in sent.items()}


def _route[Model: BaseModel](
    method: str,
    path: str,
    change: Callable[[Model], Any],
    model: type[Model] = _Payload,  # type: ignore[assignment]
) -> Route:
    """An endpoint that parses its JSON body (for GET its query) as `model` and answers what `change` returns."""

    async def endpoint(request: Request) -> Response:
        body = await request.body()
        try:
            asked = (
                model.model_validate_json(body)
                if method == "POST"
                else model.model_validate(dict(request.query_params))
            )
            answer = change(asked)
        except ValidationError as error:
            problems = [f"{'.'.join(map(str, each['loc'])) or 'body'}: {each['msg']}" for each in error.errors()]
            return json_response({"error": "; ".join(problems)}, 422)
        except SandboxError as error:
            return json_response({"error": str(error)}, 422)
        return json_response({"ok": True} if answer is None else answer)

    return Route(path, endpoint, methods=[method])
