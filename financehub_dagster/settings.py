"""Every environment variable the platform reads, typed in one place.

Belongs here: names, types and defaults of configuration. Does not belong here: anything that connects, or a default
that depends on which environment is running. An unusable value is reported by its name, never by its content.
"""

from datetime import date
from functools import cache
from pathlib import Path

from pydantic import Field, HttpUrl, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict


class SettingsError(Exception):
    """An environment variable cannot be used; the message names it and never shows its value."""


class Settings(BaseSettings):
    """Typed view of the process environment, completed by `.env` in the current folder."""

    model_config = SettingsConfigDict(env_file=".env", extra="ignore", frozen=True, env_ignore_empty=True)

    financehub_home: Path = Field(Path(".financehub"), description="Folder of the embedded database, logs and caches.")
    financehub_database_url: SecretStr | None = Field(
        None,
        description="PostgreSQL to use instead of the embedded one: postgresql://user:password@host:port/database.",
    )
    financehub_history_start: date = Field(
        date(2009, 1, 1), description="First day of the monthly partitions of the daily tables."
    )
    yahoo_base_url: HttpUrl | None = Field(None, description="Stands in for https://*.yahoo.com.")
    binance_base_url: HttpUrl | None = Field(None, description="Stands in for https://api.binance.com.")

    @property
    def home(self) -> Path:
        """The absolute home folder."""
        return self.financehub_home.expanduser().resolve()


@cache
def get_settings() -> Settings:
    """Read the environment once per process; raises SettingsError naming each unusable variable."""
    try:
        return Settings()  # type: ignore[call-arg]
    except ValidationError as error:
        problems = "; ".join(f"{str(e['loc'][0]).upper()}: {e['msg']}" for e in error.errors())
        raise SettingsError(f"unusable environment: {problems}") from None
