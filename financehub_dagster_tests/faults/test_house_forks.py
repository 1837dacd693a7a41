"""Processes of the fault suite begin with the product loaded: hundreds of them take seconds less each."""

import sys
from multiprocessing.connection import Connection

from financehub_dagster_tests.fixtures.forks import LOADED_ONCE, forks


def tell_what_is_loaded(answer: Connection) -> None:
    answer.send([name for name in LOADED_ONCE if name in sys.modules])


def test_a_forked_process_has_loaded_what_every_run_loads() -> None:
    context = forks()
    answer, told = context.Pipe(duplex=False)
    process = context.Process(target=tell_what_is_loaded, args=(told,))
    process.start()
    try:
        assert answer.poll(60)
        assert answer.recv() == LOADED_ONCE
    finally:
        process.join()
