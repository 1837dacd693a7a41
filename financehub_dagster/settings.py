"""Every environment variable the platform reads, typed in one place.

Belongs here: names, types and defaults of configuration. Does not belong here: anything that connects, or a default
that depends on which environment is running. An unusable value is reported by its name, never by its content.
"""

import os
import re
from datetime import UTC, date, datetime
from functools import cache
from pathlib import Path
from typing import Literal

from pydantic import Field, HttpUrl, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict


class SettingsError(Exception):
    """An environment variable cannot be used; the message names it and never shows its value."""


_KEYS = tuple(
    f"{provider}_api_keys"
    for provider in ("alpha_vantage", "coingecko", "coinmarketcap", "finnhub", "twelve_data", "newsapi")
)


LAUNCHERS = ("local", "celery", "docker", "kubernetes")
"""What may start runs."""
EARLIEST = date(1800, 1, 1)
"""First day that any table may begin on: before it calendars of exchanges cannot be computed."""
SHORTEST_TOKEN = 16
"""Characters of a token of the HTTP server."""


class Settings(BaseSettings):
    """Typed view of the process environment, completed by `.env` in the current folder."""

    model_config = SettingsConfigDict(env_file=".env", extra="ignore", frozen=True, env_ignore_empty=True)

    financehub_home: Path = Field(
        Path(".financehub/live"), description="Folder of the embedded database, logs and caches."
    )
    financehub_database_url: SecretStr | None = Field(
        None,
        description="PostgreSQL to use instead of the embedded one: postgresql://user:password@host:port/database.",
    )
    financehub_dagster_database_url: SecretStr | None = Field(
        None,
        description="Database of Dagster's own storage, on any server; otherwise one beside the market data.",
    )
    financehub_read_database_url: SecretStr | None = Field(
        None,
        description="Replica of the market database that `read` and `export` ask instead; everything else asks the "
        "primary.",
    )
    financehub_history_start: date = Field(
        date(2009, 1, 1), description="First day of the monthly partitions of the daily tables."
    )
    financehub_first_day: date | None = Field(
        None,
        description="First day of the partitions of quotes, markets, fundamentals and news; otherwise the day that the "
        "home keeps in its file first_day.",
    )
    financehub_minutes_days: int = Field(
        1, ge=0, le=30, description="How many days before today the minutes of a new instrument begin."
    )
    financehub_tables: str = Field(
        "", description="Modules that each declare a further TABLE, separated by commas (see docs/tables.md)."
    )
    financehub_alert_urls: SecretStr | None = Field(
        None,
        description="Where alerts are delivered: addresses of apprise (mailto://, slack://, json://...), separated by "
        "commas or spaces. Without any, alerts are only logged.",
    )
    financehub_serve_tokens: SecretStr | None = Field(
        None,
        description="Bearer tokens that `financehub serve` asks for, separated by commas; /livez needs none.",
    )
    financehub_serve_origins: str = Field(
        "",
        description="Web sites whose pages may read from `financehub serve`, separated by commas, such as "
        "https://charts.example.com.",
    )
    financehub_behind_proxy: bool = Field(
        False,
        description="Only a proxy with a login can reach the ports of the webserver and of `financehub serve`, so that "
        "they may listen on other addresses than loopback.",
    )
    financehub_run_launcher: Literal["local", "celery", "docker", "kubernetes"] = Field(
        "local", description="What starts runs: the code server, Celery workers, Docker, or Kubernetes jobs."
    )
    financehub_max_runs: int | None = Field(
        None, ge=1, description="Runs at a time; 4 otherwise. With Celery: all workers' concurrency together."
    )
    financehub_broker_url: SecretStr | None = Field(
        None, description="Celery's broker: redis://host:6379/0 or amqp://user:password@host//."
    )
    financehub_run_image: str | None = Field(None, description="Image of runs in containers (docker, kubernetes).")
    financehub_run_network: str | None = Field(None, description="Docker network of runs in containers.")
    financehub_run_namespace: str = Field("financehub", description="Kubernetes namespace of runs.")
    financehub_keep_runs_days: int = Field(
        14, ge=1, description="Days for which Dagster's successful runs, their events and logs are kept."
    )
    financehub_keep_repeated_runs: int = Field(
        300, ge=1, description="Successful runs kept of each job that schedules and sensors start, whatever their age."
    )
    financehub_keep_failed_runs_days: int = Field(
        30, ge=1, description="Days for which failed runs and settled dead letters are kept."
    )
    financehub_keep_quotes_days: int = Field(
        30, ge=1, description="Days after which quotes and markets are thinned to one row an hour."
    )
    financehub_intraday_days: int = Field(
        90, ge=1, description="Days after which months of intraday bars leave the database."
    )
    financehub_hourly_days: int = Field(
        1830, ge=365, description="The same for hours and what is computed from them, which needs a long history."
    )
    financehub_archive: bool = Field(
        True, description="Whether they are written to Parquet files under FINANCEHUB_HOME/archive first: on or off."
    )
    financehub_bulk_files: bool = Field(
        True,
        description="Whether minutes of long ago come from vendors' bulk files first, before their APIs: on or off.",
    )
    financehub_keep_health_days: int = Field(
        90, ge=1, description="Days for which health, SLA breaches and alerts that are over are kept."
    )
    financehub_keep_rejected_days: int = Field(365, ge=1, description="Days for which rejected rows are kept.")
    financehub_keep_journal_days: int = Field(
        1826, ge=1, description="Days for which files of journals are kept after they were written."
    )
    financehub_keep_revisions_days: int | None = Field(
        None, ge=1, description="Days for which replaced rows are kept; without a value for ever."
    )
    financehub_notify: str = Field(
        "averages,rsi,macd,bollinger,supertrend",
        description="Signals that people are told of: rules or families of rules, see docs/signals.md.",
    )
    financehub_equity: float | None = Field(
        None, gt=0, allow_inf_nan=False, description="What positions are a part of; otherwise what holdings are worth."
    )
    financehub_equity_currency: str = Field("USD", pattern="^[A-Z]{3}$", description="ISO 4217 code of the equity.")
    financehub_position_fraction: float = Field(
        0.05, gt=0, le=1, description="The part of the equity that a position costs, by the fixed fractional rule."
    )
    financehub_position_risk: float = Field(
        0.01, gt=0, le=1, description="The part of the equity that is lost at the stop, two average true ranges away."
    )
    yahoo_base_url: HttpUrl | None = Field(None, description="Base URL override of https://*.yahoo.com.")
    binance_base_url: HttpUrl | None = Field(None, description="Base URL override of https://api.binance.com.")
    binance_bulk_base_url: HttpUrl | None = Field(
        None, description="Base URL override of https://data.binance.vision, where Binance's bulk files are."
    )
    alpha_vantage_base_url: HttpUrl | None = Field(
        None, description="Base URL override of https://www.alphavantage.co."
    )
    coingecko_base_url: HttpUrl | None = Field(None, description="Base URL override of https://api.coingecko.com.")
    coinmarketcap_base_url: HttpUrl | None = Field(
        None, description="Base URL override of https://pro-api.coinmarketcap.com."
    )
    finnhub_base_url: HttpUrl | None = Field(None, description="Base URL override of https://finnhub.io.")
    twelve_data_base_url: HttpUrl | None = Field(None, description="Base URL override of https://api.twelvedata.com.")
    newsapi_base_url: HttpUrl | None = Field(None, description="Base URL override of https://newsapi.org.")
    alpha_vantage_api_keys: SecretStr | None = Field(None, description="Alpha Vantage keys, separated by commas.")
    coingecko_api_keys: SecretStr | None = Field(None, description="CoinGecko keys, separated by commas.")
    coinmarketcap_api_keys: SecretStr | None = Field(None, description="CoinMarketCap keys, separated by commas.")
    finnhub_api_keys: SecretStr | None = Field(None, description="Finnhub keys, separated by commas.")
    twelve_data_api_keys: SecretStr | None = Field(None, description="Twelve Data keys, separated by commas.")
    newsapi_api_keys: SecretStr | None = Field(None, description="NewsAPI keys, separated by commas.")

    def api_keys(self, provider: str) -> tuple[str, ...]:
        """The keys of a provider, each once, in the order given; empty when it has none, or needs none."""
        secret: SecretStr | None = getattr(self, f"{provider}_api_keys", None)
        parts = () if secret is None else secret.get_secret_value().split(",")
        return tuple(dict.fromkeys(part.strip() for part in parts if part.strip()))

    def serve_tokens(self) -> tuple[str, ...]:
        """The tokens that open the HTTP server; empty where it asks for none."""
        text = "" if self.financehub_serve_tokens is None else self.financehub_serve_tokens.get_secret_value()
        return tuple(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))

    def serve_origins(self) -> tuple[str, ...]:
        """The web sites whose pages may read from the HTTP server."""
        return tuple(part.strip() for part in self.financehub_serve_origins.split(",") if part.strip())

    def alert_urls(self) -> tuple[str, ...]:
        """The addresses that alerts are delivered to, in order; a comma within an address stays part of it."""
        text = "" if self.financehub_alert_urls is None else self.financehub_alert_urls.get_secret_value()
        parts = re.split(r"[\s,]+(?=[A-Za-z][A-Za-z0-9+.-]*://)", text.strip())
        return tuple(part.strip(" ,") for part in parts if part.strip(" ,"))

    def notify_words(self) -> tuple[str, ...]:
        """The rules and families of rules that people are told of, in the order given."""
        return tuple(word for word in re.split(r"[\s,]+", self.financehub_notify) if word)

    def needs_key(self, provider: str) -> bool:
        """Whether a provider takes API keys, and is off without one."""
        return f"{provider}_api_keys" in _KEYS

    def missing_keys(self) -> dict[str, str]:
        """The providers that need a key and have none, which turns them off, with the variable that turns each on."""
        providers = {name.removesuffix("_api_keys"): name.upper() for name in _KEYS}
        return {provider: variable for provider, variable in providers.items() if not self.api_keys(provider)}

    def configured_vendors(self) -> tuple[str, ...]:
        """The providers that are on: those that need no key, and those whose key is set."""
        every = (name.removesuffix("_base_url") for name in type(self).model_fields if name.endswith("_base_url"))
        every = (name for name in every if not name.endswith("_bulk"))  # a vendor's second address is no other vendor
        off = self.missing_keys()
        return tuple(name for name in every if name not in off)

    def base_url(self, provider: str) -> str | None:
        """The base URL override of a provider, without a slash at its end; None for the vendor itself."""
        url: HttpUrl | None = getattr(self, f"{provider}_base_url")
        return None if url is None else str(url).rstrip("/")

    @field_validator(*_KEYS)
    @classmethod
    def _keys_fit_into_a_header(cls, secret: SecretStr | None) -> SecretStr | None:
        for part in (secret.get_secret_value() if secret else "").split(","):
            if not (part.strip().isascii() and part.strip().isprintable()) or " " in part.strip():
                raise ValueError("a key holds characters that no key has; separate keys by commas")
        return secret

    @field_validator("financehub_history_start", "financehub_first_day")
    @classmethod
    def _begins_when_calendars_do(cls, day: date | None) -> date | None:
        today = datetime.now(UTC).date()
        if day is not None and not EARLIEST <= day <= today:
            raise ValueError(f"write a day from {EARLIEST} to today, {today}")
        return day

    @field_validator("financehub_serve_tokens")
    @classmethod
    def _tokens_cannot_be_guessed(cls, secret: SecretStr | None) -> SecretStr | None:
        for part in (secret.get_secret_value() if secret else "").split(","):
            token = part.strip()
            if token and (len(token) < SHORTEST_TOKEN or not token.isascii() or not token.isprintable()):
                raise ValueError(f"a token needs {SHORTEST_TOKEN} ASCII characters or more: `openssl rand -hex 32`")
        return secret

    @field_validator("financehub_serve_origins")
    @classmethod
    def _origins_are_web_sites(cls, text: str) -> str:
        for part in filter(None, (part.strip() for part in text.split(","))):
            if re.fullmatch(r"https?://[^/*\s]+", part) is None:
                raise ValueError(f"{part} is no web site: write https://charts.example.com, without a path")
        return text

    @property
    def home(self) -> Path:
        """The absolute home folder; raises SettingsError where the path leads nowhere."""
        try:
            return self.financehub_home.expanduser().resolve()
        except (RuntimeError, OSError):  # an unknown user's home, links that lead to each other, no right to look
            raise SettingsError(
                f"FINANCEHUB_HOME is {self.financehub_home}, which leads to no folder: write out the path of one"
            ) from None

    @property
    def sample_market(self) -> bool:
        """Whether the home holds the sample market's prices."""
        mode = self.home / "mode"
        return mode.is_file() and mode.read_text(encoding="utf-8").strip() == "sandbox"

    @property
    def first_day_file(self) -> Path:
        """Where the home keeps the day on which its platform began."""
        return self.home / "first_day"

    @property
    def first_day(self) -> date | None:
        """The day on which the platform began; None before it did. Raises SettingsError for an unusable file."""
        if self.financehub_first_day is not None:
            return self.financehub_first_day
        try:
            return date.fromisoformat(self.first_day_file.read_text(encoding="utf-8").strip())
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise SettingsError(f"{self.first_day_file}: write a day as 2026-11-29 into it ({error})") from None


class _Tables(BaseSettings):
    model_config = Settings.model_config
    financehub_tables: str = ""


def table_modules() -> list[str]:
    """The modules that FINANCEHUB_TABLES names; read each time, since tables are declared before a home is chosen."""
    without = bool(os.environ.get("FINANCEHUB_WITHOUT_ENV_FILE"))
    names = (_Tables(_env_file=None) if without else _Tables()).financehub_tables  # type: ignore[call-arg]
    return [name.strip() for name in names.split(",") if name.strip()]


@cache
def get_settings() -> Settings:
    """Read the environment once per process; raises SettingsError naming each unusable variable.

    `.env` is left out for a command that acts on another home than the one `.env` leads to (cli.home).
    """
    try:
        if os.environ.get("FINANCEHUB_WITHOUT_ENV_FILE"):
            return Settings(_env_file=None)  # type: ignore[call-arg]
        return Settings()  # type: ignore[call-arg]
    except ValidationError as error:
        problems = "; ".join(
            f"{str(e['loc'][0]).upper()}: {e['msg'].removeprefix('Value error, ')}" for e in error.errors()
        )
        raise SettingsError(f"unusable environment: {problems}") from None
