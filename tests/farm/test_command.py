"""What `python -m farm` says of wrong options, before anything begins."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from pack.farm.__main__ import main, parse, report
from pack.farm.jobs import read_jobs
from pack.farm.keeper import Counts, Keeper

MODELS = ("--checkpoint", "a", "--adapter", "b", "--encoder", "c")


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["none.csv"], "none.csv does not exist"),
        (["jobs.csv"], "Give --checkpoint and --adapter and --encoder"),
        (["jobs.csv", "--workflow", "none.json"], "none.json cannot be read"),
        (["jobs.csv", "--workflow", "jobs.csv"], 'is no JSON .*Save .*with "Export \\(API\\)"'),
        (["jobs.csv", *MODELS, "--column", "prompts=1.text"], "names no column"),
        (["jobs.csv", *MODELS, "--column", "prompt=nowhere.text"], "nowhere"),
        (["twice.csv", *MODELS], "--adapter is given and the table has a column of that name"),
        (["jobs.csv", *MODELS, "--address", "127.0.0.1:9"], "no Ray cluster answers"),
        (["jobs.csv", *MODELS, "--out", "jobs.csv"], "jobs.csv cannot be written"),
    ],
)
def test_a_job_that_cannot_begin_is_told(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    options: list[str],
    told: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("jobs.csv").write_text("prompt\na cat\n")
    Path("twice.csv").write_text("prompt,adapter\na cat,b\n")
    assert main(["--out", "out", "--servers", "http://127.0.0.1:9", *options]) == 2
    (*_, last) = capsys.readouterr().err.splitlines()
    assert last.startswith("farm: ") and last.endswith(".") and re.search(told, last)


def test_one_is_said_as_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    jobs = ("a.csv", "prompt\na cat\n"), ("b.csv", "prompt\na cat\na dog\n")
    for (name, table), rows in zip(jobs, ("1 row", "2 rows"), strict=True):
        (tmp_path / name).write_text(table)
        options = ["--out", str(tmp_path / "out"), "--address", "127.0.0.1:9", *MODELS]
        assert main([str(tmp_path / name), *options]) == 2
        assert capsys.readouterr().err.splitlines()[0] == f"{rows}. Starting Ray."
        keeper = Keeper(tmp_path / "out")
        filled = read_jobs(str(tmp_path / name))
        keeper.write_table(filled, [None] * len(filled), {})
        keeper.close()
        number = len(filled)
        counts = Counts(made=number, encoded=number, replaced=number)
        report(counts, tmp_path / "out", number)
        told = capsys.readouterr().err
        assert f"{rows}: {number} made. {rows.replace('row', 'reference')} encoded." in told
        died = "1 worker died and was" if number == 1 else "2 workers died and were"
        assert f"{died} replaced." in told
        sheet = (tmp_path / "out" / "index.html").read_text()
        assert f"<span>{rows}: {number} not made yet</span>" in sheet


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--workers", "0"], "'0' is no number from 1 on"),
        (["--tries", "many"], "'many' is no number from 1 on"),
        (["--workers", "2", "--servers", "http://a:8188"], "--servers are the workers"),
    ],
)
def test_wrong_options_are_told(
    capsys: pytest.CaptureFixture[str], options: list[str], told: str
) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["jobs.csv", "--out", "out", *options])
    assert stopped.value.code == 2 and told in capsys.readouterr().err


@pytest.mark.parametrize("servers", [",", "", "ftp://a", "http://", "a b", "http://a:x", "a:99999"])
def test_what_is_no_address_is_told(servers: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["jobs.csv", "--out", "out", "--servers", servers])
    assert ended.value.code == 2
    assert "is no address such as http://gpu1:8188" in capsys.readouterr().err


def test_addresses_as_people_write_them() -> None:
    written = " gpu1:8188, http://gpu1:8188/ ,https://[::1]:8188,http://proxy/comfy,gpu1:8188"
    options = parse(["jobs.csv", "--out", "out", "--servers", written])
    wanted = ["gpu1:8188", "http://gpu1:8188", "https://[::1]:8188", "http://proxy/comfy"]
    assert options.servers == wanted
