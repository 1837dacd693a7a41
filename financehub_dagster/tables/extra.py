"""Tables that are declared beside the product, by modules that FINANCEHUB_TABLES names.

Belongs here: importing them, and refusing what is no declaration. Does not belong here: creating their SQL tables
(`storage.database.creation`).
"""

from importlib import import_module

from financehub_dagster.settings import SettingsError, table_modules
from financehub_dagster.tables.declaration import Table


def extra_tables() -> tuple[Table, ...]:
    """The `TABLE` of each module, in the order named; raises SettingsError with the module that cannot be used."""
    return tuple(_declared(name) for name in table_modules())


def _declared(name: str) -> Table:
    try:
        table = import_module(name).TABLE
    except ImportError as error:
        raise SettingsError(f"FINANCEHUB_TABLES: module {name} cannot be imported: {error}") from None
    except AttributeError:
        raise SettingsError(f"FINANCEHUB_TABLES: module {name} has no TABLE; docs/tables.md shows one") from None
    if not isinstance(table, Table):
        raise SettingsError(f"FINANCEHUB_TABLES: TABLE of {name} is not a tables.declaration.Table")
    return table
