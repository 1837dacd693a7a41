import os
import stat
from pathlib import Path

import pytest
from dotenv import dotenv_values

from financehub_dagster.cli.env_file import BEGIN, END, EnvFile

OWN = "# my keys\nFINNHUB_API_KEYS=a,b  # two\n\nexport NAME='x y'\n"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / ".env"


def test_the_users_lines_survive_every_rewrite_byte_for_byte(path):
    path.write_text(OWN)
    for home in ("/one", "/two", "/three"):
        EnvFile.read(path).write_block({"FINANCEHUB_HOME": home})
    assert path.read_text() == f"{OWN}{BEGIN}\nFINANCEHUB_HOME='/three'\n{END}\n"


def test_lines_that_a_user_wrote_below_the_block_are_kept(path):
    EnvFile.read(path).write_block({"A": "1"})
    path.write_text(path.read_text() + "MINE=2\n")
    EnvFile.read(path).write_block({"A": "3"})
    assert dotenv_values(path) == {"MINE": "2", "A": "3"}


def test_the_block_wins_over_a_line_of_the_users_because_it_comes_last(path):
    path.write_text("FINANCEHUB_DATABASE_URL=postgresql://u:p@h/d\n")
    EnvFile.read(path).write_block({"FINANCEHUB_DATABASE_URL": ""})
    assert dotenv_values(path) == {"FINANCEHUB_DATABASE_URL": ""}
    assert EnvFile.read(path).own == {"FINANCEHUB_DATABASE_URL": "postgresql://u:p@h/d"}


def test_a_last_line_without_newline_is_not_glued_to_the_block(path):
    path.write_text("A=1")
    EnvFile.read(path).write_block({"B": "2"})
    assert dotenv_values(path) == {"A": "1", "B": "2"}


@pytest.mark.parametrize("value", ["/with space/x", "it's", "back\\slash", "#hash", 'dou"ble', "a=b", "ünï"])
def test_any_path_is_read_back_as_it_was_written(path, value):
    EnvFile.read(path).write_block({"FINANCEHUB_HOME": value})
    assert dotenv_values(path)["FINANCEHUB_HOME"] == value
    assert EnvFile.read(path).block == {"FINANCEHUB_HOME": value}


def test_only_the_owner_may_read_the_file_whatever_it_was_before(path):
    path.write_text("KEY=secret\n")
    path.chmod(0o644)
    EnvFile.read(path).write_block({"A": "1"})
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_symbolic_link_stays_one_and_its_target_is_written(path, tmp_path):
    target = tmp_path / "shared.env"
    target.write_text(OWN)
    path.symlink_to(target)
    EnvFile.read(path).write_block({"A": "1"})
    assert path.is_symlink()
    assert target.read_text().startswith(OWN)
    assert dotenv_values(target)["A"] == "1"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_cannot_be_written_leaves_the_file_as_it_was(path):
    path.write_text(OWN)
    path.parent.chmod(0o500)
    try:
        with pytest.raises(PermissionError):
            EnvFile.read(path).write_block({"A": "1"})
    finally:
        path.parent.chmod(0o700)
    assert path.read_text() == OWN


def test_a_block_whose_end_was_deleted_is_replaced_up_to_the_end_of_the_file(path):
    path.write_text(f"{OWN}{BEGIN}\nA='1'\n")
    EnvFile.read(path).write_block({"A": "2"})
    assert path.read_text() == f"{OWN}{BEGIN}\nA='2'\n{END}\n"
