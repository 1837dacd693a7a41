"""The files by which `dg` and `dagster` find the code location in a folder that is no checkout.

Belongs here: writing `dg.toml` and `workspace.yaml` beside `.env`. Does not belong here: what runs, and `.env` itself.

Both name the code location as the running platform does. Schedules and sensors are told apart by that name too: with
`-m financehub_dagster.definitions` Dagster calls the location after the module, and stops schedules of nobody.
"""

import tomllib
from pathlib import Path

from financehub_dagster.cli.supervisor.services import CODE_LOCATION, DEFINITIONS
from financehub_dagster.storage import whole_files

MARK = "# Written by `financehub up` and `demo`; delete this line to keep changes of your own."
WORKSPACE = f"""{MARK}
load_from:
  - python_module:
      module_name: {DEFINITIONS}
      location_name: {CODE_LOCATION}
"""
# dg looks for a project's modules below its folder; ours are installed, so the folder itself stands for them.
DG = f"""{MARK}
directory_type = "project"

[project]
root_module = "."
defs_module = "."
code_location_target_module = "{DEFINITIONS}"
code_location_name = "{CODE_LOCATION}"

[cli]
suppress_warnings = ["project_and_activated_venv_mismatch"]
"""
FILES = {"workspace.yaml": WORKSPACE, "dg.toml": DG}


def write_project_files(folder: Path) -> list[str]:
    """Write the files that `folder` lacks; a Dagster project stays as it is. Returns those that are somebody else's.

    Raises OSError where the folder cannot be written.
    """
    if _is_project(folder / "pyproject.toml"):
        return []
    others = []
    for name, text in FILES.items():
        path = folder / name
        if path.exists() and not path.read_text(encoding="utf-8", errors="replace").startswith(MARK):
            others.append(name)
        else:
            whole_files.replace(path, text)
    return others


def _is_project(pyproject: Path) -> bool:
    """Does this file tell Dagster where the code is?"""
    try:
        tools = tomllib.loads(pyproject.read_text(encoding="utf-8")).get("tool", {})
    except (OSError, ValueError):
        return False
    return not tools.keys().isdisjoint({"dg", "dagster"})
