"""Work that a process which lives long leaves to another one, so that the libraries it takes are not loaded here."""

from collections.abc import Callable
from multiprocessing.process import BaseProcess

_processes: list[type[BaseProcess]] = []


def leave_to(process: type[BaseProcess]) -> None:
    """From now on `done_apart` begins processes of this type; without it, nothing is done apart."""
    _processes[:] = [process]


def done_apart(work: Callable[..., object], *arguments: object) -> bool:
    """Have another process call `work`, which keeps what it makes on disk, and wait; returns whether that succeeded."""
    if not _processes:
        return False
    process = _processes[0](target=work, args=arguments)
    process.start()
    process.join()
    return process.exitcode == 0
