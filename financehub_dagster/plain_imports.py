"""Imports of libraries without the optional companions they look for, which take time in each process."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def without(name: str) -> Iterator[None]:
    """Meanwhile module `name` cannot be imported, unless it is loaded already."""
    hidden = name not in sys.modules
    if hidden:
        sys.modules[name] = None  # type: ignore[assignment]  # so Python marks a module that cannot be imported
    try:
        yield
    finally:
        if hidden:
            del sys.modules[name]
