"""The version of the installed program. Belongs here: nothing else."""

from importlib.metadata import version

VERSION = version("financehub-dagster")
