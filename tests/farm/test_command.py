"""What `python -m farm` says of wrong options, before anything begins."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
from pack.farm.__main__ import main, parse, report
from pack.farm.comfyui.places import resolved
from pack.farm.jobs import read_jobs
from pack.farm.keeper import Counts, Keeper
from pack.farm.work import Settings

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
        (["jobs.csv", *MODELS, "--out", "jobs.csv"], "jobs.csv cannot be written .*--out another"),
        (["jobs.csv", *MODELS, "--out", "jobs.csv/deep/out"], "jobs.csv/deep.* cannot be written"),
        (["jobs.csv", *MODELS, "--out", "taken"], "taken/pictures cannot be written"),
        (["jobs.csv", *MODELS, "--out", "/proc/farm"], "/proc/farm cannot be written"),
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
    Path("taken").mkdir()
    Path("taken", "pictures").write_text("no folder")
    assert main(["--out", "out", "--servers", "http://127.0.0.1:9", *options]) == 2
    (*first, last) = capsys.readouterr().err.splitlines()
    assert last.startswith("farm: ") and last.endswith(".") and re.search(told, last)
    assert "--address" in options or not first


LISTS = {
    "broken.yaml": "a: [",
    "empty.yaml": "",
    "numbers.yaml": "a:\n  checkpoints: 3\n",
    "nowhere.yaml": "a:\n  base_path: nowhere\n  checkpoints: models\n",
    "good.yaml": "a:\n  base_path: .\n  is_default: true\n  vae: |\n    none\n    models\nb:\n",
}


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--comfyui", "models"], "models holds no ComfyUI on"),
        (["--python", "nowhere"], "nowhere is missing on .*Give --python the file"),
        (["--python", "./nowhere"], "nowhere is missing on"),
        (["--python", "models"], "models is a folder"),
        (["--python", "./jobs.csv"], "jobs.csv cannot be run"),
        (["--python", "./bare"], "bare has no torch on"),
        (["--python", "/bin/sh"], "/bin/sh does not answer as a Python does"),
        (
            ["--models", "models"],
            "models is a folder, and --models takes an extra_model_paths.yaml",
        ),
        (["--models", "none.yaml"], "none.yaml cannot be read"),
        (["--models", "broken.yaml"], "broken.yaml is no YAML"),
        (["--models", "empty.yaml"], "empty.yaml does not say which folders"),
        (["--models", "numbers.yaml"], "numbers.yaml does not say which folders"),
        (["--models", "nowhere.yaml"], "names no folder that is there, such as .*nowhere/models"),
    ],
)
def test_what_a_comfyui_starts_from_is_looked_at_before_ray(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    options: list[str],
    told: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    prepare()
    whole = ["--comfyui", "comfyui", "--python", sys.executable, "--models", "good.yaml"]
    assert main(["jobs.csv", "--out", "out", *MODELS, *whole, *options]) == 2
    (said,) = capsys.readouterr().err.splitlines()
    assert said.startswith("farm: ") and said.endswith(".") and re.search(told, said)


def test_what_a_comfyui_starts_from_is_named_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    prepare()
    found = resolved(Settings(comfyui="comfyui", models="good.yaml"))
    assert found.comfyui == str(tmp_path / "comfyui")
    assert found.models == str(tmp_path / "good.yaml") and found.python == sys.executable


def prepare() -> None:
    """A folder with a ComfyUI that nobody starts, a Python without packages, lists of folders."""
    Path("jobs.csv").write_text("prompt\na cat\n")
    for name in ("models", "comfyui"):
        Path(name).mkdir()
    Path("comfyui", "main.py").touch()
    Path("bare").write_text(f'#!/bin/sh\nexec {sys.executable} -I -S "$@"\n')
    Path("bare").chmod(0o755)
    for name, text in LISTS.items():
        Path(name).write_text(text)


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
        (["--workers", "2", "--servers", "http://a:8188"], "leave --workers out"),
        (
            ["--servers", "a:8188", "--python", "x", "--models", "y", "--cpu"],
            "--servers are the workers, and run already: leave --python, --models, --cpu out",
        ),
        (["--nonsense"], "unrecognized arguments: --nonsense"),
    ],
)
def test_wrong_options_are_told(
    capsys: pytest.CaptureFixture[str], options: list[str], told: str
) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["jobs.csv", "--out", "out", *options])
    (said,) = capsys.readouterr().err.splitlines()
    assert stopped.value.code == 2 and told in said and said.startswith("farm: ")


@pytest.mark.parametrize("servers", [",", "", "ftp://a", "http://", "a b", "http://a:x", "a:99999"])
def test_what_is_no_address_is_told(servers: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["jobs.csv", "--out", "out", "--servers", servers])
    assert ended.value.code == 2
    assert "is no address such as http://gpu1:8188" in capsys.readouterr().err


def test_addresses_as_people_write_them() -> None:
    written = " gpu1:8188, http://gpu1:8188/ ,https://[::1]:8188,http://proxy/comfy,gpu1:8188"
    options = parse(["jobs.csv", "--out", "out", "--servers", written])
    wanted = ["http://gpu1:8188", "https://[::1]:8188", "http://proxy/comfy"]
    assert options.servers == wanted
    written = "gpu1, [::1],proxy/comfy/,http://proxy,localhost:, 127.0.0.1:8188,http://LocalHost:8188,GPU1"
    options = parse(["jobs.csv", "--out", "out", "--servers", written])
    wanted = ["http://gpu1:8188", "http://[::1]:8188", "http://proxy/comfy", "http://proxy"]
    assert options.servers == [*wanted, "http://localhost:8188"]
