import os
from pathlib import Path

import pytest
from dotenv import dotenv_values

from financehub_dagster.cli import home as homes
from financehub_dagster.cli import prepare
from financehub_dagster.cli.errors import CommandError, WrongUsage
from financehub_dagster.cli.home import Home, Mode
from financehub_dagster.sandbox.client import KEYLESS_VENDORS, VENDORS
from financehub_dagster_tests.fixtures.folder import REPOSITORY


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    for name in ("FINANCEHUB_HOME", "DAGSTER_HOME", "FINNHUB_API_KEYS", *homes.DATABASES):
        monkeypatch.setenv(name, "")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def started(folder: Path, mode: Mode) -> Home:
    home = homes.home_to_start(mode)
    home.prepare(mode)
    homes.env_file().write_block(homes.block_for(home, mode))
    return home


def test_real_and_sample_prices_have_homes_of_their_own(folder):
    assert homes.home_to_start(Mode.LIVE).path == folder / ".financehub/live"
    assert homes.home_to_start(Mode.SANDBOX).path == folder / ".financehub/demo"


def test_commands_act_on_what_was_last_started_in_the_folder(folder):
    assert homes.home_in_use().path == folder / ".financehub/live"
    demo = started(folder, Mode.SANDBOX)
    assert homes.home_in_use() == demo
    live = started(folder, Mode.LIVE)
    assert homes.home_in_use() == live


def test_starting_ignores_where_env_leads(folder):
    started(folder, Mode.SANDBOX)
    assert homes.home_to_start(Mode.LIVE).path == folder / ".financehub/live"


def test_a_home_of_the_users_choice_is_taken_from_the_environment_and_from_env(folder, monkeypatch):
    (folder / ".env").write_text("FINANCEHUB_HOME=mine\n")
    assert homes.home_to_start(Mode.LIVE).path == folder / "mine"
    assert homes.home_in_use().path == folder / "mine"
    monkeypatch.setenv("FINANCEHUB_HOME", "/other")
    assert homes.home_to_start(Mode.LIVE).path == Path("/other")


def test_an_environment_that_contradicts_env_is_refused(folder, monkeypatch):
    started(folder, Mode.SANDBOX)
    monkeypatch.setenv("FINANCEHUB_HOME", "/other")
    with pytest.raises(WrongUsage, match=r"FINANCEHUB_HOME is /other but \.env here leads to"):
        homes.home_in_use()


def test_dagsters_home_of_the_environment_is_kept_for_later_commands(folder, monkeypatch):
    monkeypatch.setenv("DAGSTER_HOME", str(folder / "theirs"))
    home = homes.home_to_start(Mode.LIVE)
    homes.env_file().write_block(homes.block_for(home, Mode.LIVE))
    monkeypatch.delenv("DAGSTER_HOME")
    assert homes.home_in_use() == home
    monkeypatch.setenv("DAGSTER_HOME", "/other")
    with pytest.raises(
        WrongUsage, match=r"DAGSTER_HOME is /other but \.env here leads to .*/theirs: unset DAGSTER_HOME"
    ):
        homes.home_in_use()


@pytest.mark.parametrize("name", ["FINANCEHUB_HOME", "DAGSTER_HOME"])
@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("a_file", "leads to .*/a_file, but .*/a_file is a file: choose another folder"),
        ("a_file/below", "leads to .*/a_file/below, but .*/a_file is a file"),
        ("~nosuchuser/x", "is ~nosuchuser/x, which leads to no folder: write out the path of one"),
        ("loop", "is loop, which leads to no folder"),
    ],
)
@pytest.mark.parametrize("choose", [homes.home_in_use, lambda: homes.home_to_start(Mode.LIVE)])
def test_what_can_be_no_folder_is_refused_by_the_variables_name(folder, monkeypatch, name, value, message, choose):
    (folder / "a_file").touch()
    (folder / "loop").symlink_to("loop")
    monkeypatch.setenv(name, value)
    with pytest.raises(WrongUsage, match=f"^{name} {message}"):
        choose()


@pytest.mark.parametrize(("first", "second"), [(Mode.LIVE, Mode.SANDBOX), (Mode.SANDBOX, Mode.LIVE)])
def test_a_home_keeps_the_mode_it_was_started_in(folder, first, second):
    home = Home(folder / "h", folder / "h/dagster")
    home.prepare(first)
    with pytest.raises(WrongUsage, match=f"holds {first} data, which must not mix with {second} data"):
        home.prepare(second)
    assert home.mode is first


def test_an_unreadable_mode_is_an_error_and_not_a_guess(folder):
    home = Home(folder, folder / "dagster")
    (folder / "mode").write_text("lve\n")
    with pytest.raises(CommandError, match="says 'lve', must say live or sandbox"):
        _ = home.mode


def test_the_sandbox_never_gets_the_address_of_a_database(folder, monkeypatch):
    (folder / ".env").write_text("FINANCEHUB_DATABASE_URL=postgresql://u:secret@h/d\n")
    home = started(folder, Mode.SANDBOX)
    monkeypatch.setenv("FINANCEHUB_DATABASE_URL", "postgresql://u:secret@h/other")
    [note] = homes.enter(home, Mode.SANDBOX)
    assert "FINANCEHUB_DATABASE_URL" not in os.environ
    assert "not used" in note
    assert "secret" not in note
    assert homes.env_file().block["FINANCEHUB_DATABASE_URL"] == ""


def test_a_live_platform_gets_the_users_own_lines_but_not_a_stale_block(folder):
    (folder / ".env").write_text("FINNHUB_API_KEYS=k\nFINANCEHUB_DATABASE_URL=postgresql://h/d\n")
    demo = homes.home_to_start(Mode.SANDBOX)
    homes.env_file().write_block(homes.block_for(demo, Mode.SANDBOX, "http://127.0.0.1:1"))
    home, before = homes.home_to_start(Mode.LIVE), dict(os.environ)
    assert homes.enter(home, Mode.LIVE) == []
    assert {name: value for name, value in os.environ.items() if before.get(name) != value} == {
        "FINNHUB_API_KEYS": "k",
        "FINANCEHUB_DATABASE_URL": "postgresql://h/d",
        "FINANCEHUB_HOME": str(home.path),
        "DAGSTER_HOME": str(home.path / "dagster"),
    }


def test_the_block_never_holds_the_address_of_a_database(folder):
    home = Home(folder, folder / "dagster")
    assert set(homes.block_for(home, Mode.LIVE)) == {"FINANCEHUB_HOME", "DAGSTER_HOME"}


def test_the_sandbox_address_stands_in_for_every_vendor(folder):
    home = Home(folder, folder / "dagster")
    block = homes.block_for(home, Mode.SANDBOX, "http://127.0.0.1:9")
    assert block["YAHOO_BASE_URL"] == "http://127.0.0.1:9/yahoo"
    assert block["BINANCE_BASE_URL"] == "http://127.0.0.1:9/binance"
    assert block["BINANCE_BULK_BASE_URL"] == "http://127.0.0.1:9/binance"
    assert {name for name in block if name.endswith("_BASE_URL")} == {
        *(f"{vendor.upper()}_BASE_URL" for vendor in VENDORS),
        "BINANCE_BULK_BASE_URL",
    }


def test_a_persons_own_keys_never_leave_for_the_sandbox(folder):
    (folder / ".env").write_text("FINNHUB_API_KEYS=my-own-key\n")
    home = Home(folder, folder / "dagster")
    block = homes.block_for(home, Mode.SANDBOX, "http://127.0.0.1:9")
    asking = {f"{vendor.upper()}_API_KEYS" for vendor in VENDORS if vendor not in KEYLESS_VENDORS}
    assert asking == {name for name in block if name.endswith("_API_KEYS")}
    homes.env_file().write_block(block)
    assert dotenv_values(folder / ".env")["FINNHUB_API_KEYS"] == block["FINNHUB_API_KEYS"] != "my-own-key"


def test_dagsters_configuration_is_renewed_in_our_folder_and_left_alone_in_the_users(folder):
    home = Home(folder / "h", folder / "h/dagster")
    home.prepare(Mode.LIVE)
    packaged = (home.dagster / "dagster.yaml").read_text()
    (home.dagster / "dagster.yaml").write_text("old")
    home.prepare(Mode.LIVE)
    assert (home.dagster / "dagster.yaml").read_text() == packaged

    foreign = Home(folder / "h", folder / "theirs")
    foreign.dagster.mkdir()
    (foreign.dagster / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    foreign.prepare(Mode.LIVE)
    assert (foreign.dagster / "dagster.yaml").read_text() == "telemetry: {enabled: false}\n"


def test_the_checkouts_dagster_yaml_is_the_packaged_one():
    packaged = REPOSITORY / "financehub_dagster" / "cli" / "dagster.yaml"
    assert (REPOSITORY / "dagster.yaml").read_text() == packaged.read_text()


def test_a_sandbox_home_without_its_sandbox_says_how_to_start_it(folder):
    home = started(folder, Mode.SANDBOX)
    with pytest.raises(CommandError, match="its sandbox is not running: `financehub up --sandbox`"):
        prepare.require_vendors(home)
