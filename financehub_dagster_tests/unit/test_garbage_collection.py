"""A process that goes on for days does not keep what nobody uses any more."""

import os
import subprocess
import sys

import pytest

from financehub_dagster_tests.fixtures.folder import REPOSITORY

PROGRAM = """
import gc, sys, time, weakref
from financehub_dagster import garbage_collection

class Old:
    def __init__(self):
        self.other = self

old = Old()
gc.collect()
garbage_collection.EVERY_SECONDS = 0.05
sys.argv = ["dagster", *sys.argv[1:]]
import financehub_dagster.definitions
gone = weakref.ref(old)
gc.unfreeze()
del old
until = time.monotonic() + 3
while gone() is not None and time.monotonic() < until:
    time.sleep(0.05)
print(gone() is None)
"""


@pytest.mark.parametrize(("program", "collected"), [(["api", "grpc"], "True"), (["asset", "materialize"], "False")])
def test_a_code_server_looks_for_garbage_among_old_objects_and_a_short_program_does_not(program, collected):
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *program],
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert done.stdout.strip() == collected
