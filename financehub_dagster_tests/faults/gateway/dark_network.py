"""A network of its own in which names are looked up in vain and some addresses do not answer; run inside a namespace.

Belongs here: making that network, asking in it, and telling how it went as JSON. Does not belong here: what it should
have been (test_gateway_connecting).

`unshare -Urnm python -m financehub_dagster_tests.faults.gateway.dark_network`: a user, network and mount namespace of
its own, in which an ordinary user may set up name servers and hosts, and nobody else sees it.
"""

import fcntl
import json
import socket
import struct
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import requests

from financehub_dagster.gateway.http.deadline import DeadlineAdapter, by
from financehub_dagster_tests.contracts.scripted import Answer, scripted_vendor
from financehub_dagster_tests.faults.gateway.unreachable import unreachable_address

NAME_SERVER = "127.0.0.9"
NEAR, FAR, FARTHER = "127.0.0.1", "127.0.0.2", "127.0.0.3"
"""In the order in which the system has the addresses of a name tried (RFC 6724, rule 9)."""
CONNECT, TOTAL = 2.0, 6.0
GET_FLAGS, SET_FLAGS, UP = 0x8913, 0x8914, 1
"""SIOCGIFFLAGS, SIOCSIFFLAGS and IFF_UP of Linux (netdevice(7))."""


def switch_loopback_on() -> None:
    with socket.socket() as any_socket:
        flags = fcntl.ioctl(any_socket, GET_FLAGS, struct.pack("16sh14x", b"lo", 0))
        (before,) = struct.unpack("16xh14x", flags)
        fcntl.ioctl(any_socket, SET_FLAGS, struct.pack("16sh14x", b"lo", before | UP))


def replace(path: str, text: str) -> None:
    with tempfile.NamedTemporaryFile("w", delete=False) as file:
        file.write(text)
    subprocess.run(["mount", "--bind", file.name, path], check=True)
    Path(file.name).unlink()


def ask(url: str) -> dict[str, object]:
    session = requests.Session()
    session.mount("http://", DeadlineAdapter())
    started = time.monotonic()
    try:
        with by(started + TOTAL):
            outcome = session.get(url, timeout=(CONNECT, TOTAL)).text
    except requests.ConnectionError as error:
        outcome = type(getattr(error.args[0], "reason", error)).__name__
    return {"outcome": outcome, "seconds": time.monotonic() - started}


def main() -> None:
    switch_loopback_on()
    with ExitStack() as network:
        silent = network.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        silent.bind((NAME_SERVER, 53))
        vendor = network.enter_context(scripted_vendor(Answer(["here"]), host=FAR))
        # Python's HTTP server looks for the name of its address while it starts.
        replace("/etc/resolv.conf", f"nameserver {NAME_SERVER}\n")
        port = int(vendor.url.rpartition(":")[2])
        for host in (NEAR, FARTHER):
            network.enter_context(unreachable_address(host, port))
        hosts = {"half": (NEAR, FAR), "dead": (NEAR, FARTHER)}
        lines = [f"{address} {name}.example\n" for name, addresses in hosts.items() for address in addresses]
        replace("/etc/hosts", "".join(lines))
        names = ("unknown", "half", "dead")
        with ThreadPoolExecutor(len(names)) as pool:
            found = dict(zip(names, pool.map(lambda name: ask(f"http://{name}.example:{port}/"), names), strict=True))
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main()
