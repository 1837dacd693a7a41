"""The benchmark runner: finds what is there, refuses what is not, and goes on after a failure."""

from pathlib import Path

import pytest

from financehub_dagster_tests.bench import __main__ as bench


def test_benchmarks_are_found_by_the_name_of_their_file(tmp_path: Path) -> None:
    for name in ("bench_writer.py", "bench_indicators.py", "rival.py"):
        (tmp_path / name).touch()
    assert bench.benchmarks(tmp_path) == ["indicators", "writer"]


def test_every_benchmark_of_the_project_is_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert bench.main(["--list"]) == 0
    assert capsys.readouterr().out.split() == bench.benchmarks()


def test_an_unknown_benchmark_is_refused_with_the_known_ones(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as refused:
        bench.main(["wirter"])
    assert refused.value.code == 2
    assert "no benchmark named wirter; there are: " in capsys.readouterr().err


def test_a_benchmark_that_cannot_run_is_reported_by_its_exit_code() -> None:
    code, printed = bench.run("that_does_not_exist")
    assert code != 0
    assert printed == ""


def test_the_page_for_the_docs_names_the_machine_and_keeps_the_figures() -> None:
    page = bench.markdown({"writer": "fresh 0.40x\n"})
    assert page.startswith("# Benchmarks\n\nMeasured by `make bench` on ")
    assert "## writer\n\n```text\nfresh 0.40x\n```" in page
