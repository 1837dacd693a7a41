"""Stand-in addresses: http://host:port[/prefix] in place of a vendor's scheme and host, the same paths behind it.

Belongs here: rewriting an address, and telling whether it stays on this machine. Does not belong here: which addresses
are configured.
"""

import ipaddress
from urllib.parse import urlsplit


def overridden(url: str, base_url: str) -> str:
    """`url` with its scheme and host replaced by `base_url`."""
    parts = urlsplit(url)
    query = f"?{parts.query}" if parts.query else ""
    return f"{base_url.rstrip('/')}{parts.path or '/'}{query}"


def host_of(url: str) -> str:
    """The host of an address, without port, in lower case."""
    return urlsplit(url).hostname or ""


def place_of(base_url: str | None) -> str:
    """The suffix under which an override's limits and usage are kept: @host:port, empty for the vendor itself.

    A user and password in the address are not part of it: it is stored and shown.
    """
    return "" if base_url is None else f"@{urlsplit(base_url).netloc.rpartition('@')[2]}"


def is_loopback(url: str) -> bool:
    """Does the address stay on this machine, so that no proxy of the environment applies?"""
    host = host_of(url)
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
