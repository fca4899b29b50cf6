"""Nothing is published that is untested, unnamed or of two versions; the archive holds the pack."""

from __future__ import annotations

import importlib.util
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from kit.release.packed import packed

yaml = pytest.importorskip("yaml")

ROOT = Path(__file__).resolve().parents[2]
WORKFLOWS = ROOT / ".github" / "workflows"
FILES = ("pyproject.toml", "CHANGELOG.md")


def release_module() -> Any:
    spec = importlib.util.spec_from_file_location("release", ROOT / ".github" / "release.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


release = release_module()


def workflow(name: str) -> dict[Any, Any]:
    return yaml.safe_load((WORKFLOWS / name).read_text("utf-8"))


def triggers(name: str) -> dict[str, Any]:
    return workflow(name)[True]  # YAML reads the word "on" as yes


def steps(name: str) -> list[dict[str, Any]]:
    return [step for job in workflow(name)["jobs"].values() for step in job.get("steps", [])]


def test_publishing_needs_the_tests() -> None:
    jobs = workflow("publish.yml")["jobs"]
    assert jobs["tests"] == {"uses": "./.github/workflows/tests.yml"}
    needs_key = [name for name, job in jobs.items() if "secrets." in yaml.safe_dump(job)]
    assert needs_key == ["publish"]
    assert jobs["publish"]["needs"] == ["tests", "fire"]
    # Somebody has to say yes, and the key is that environment's alone.
    assert jobs["publish"]["environment"] == "release"
    tried = jobs["fire"]["strategy"]["matrix"]["command"]
    assert tried == ["soak --prompts 1000", "fuzz --seconds 1800"]
    assert jobs["fire"]["steps"][-1]["run"] == "python dev.py $COMMAND"
    # A condition such as always() would publish after failed tests too.
    assert not re.search(r"always|failure|cancelled", jobs["publish"]["if"])
    names = [str(step) for step in jobs["publish"]["steps"]]
    check = next(place for place, step in enumerate(names) if "release.py" in step)
    send = next(place for place, step in enumerate(names) if "comfy --skip-prompt" in step)
    assert check < send
    assert triggers("publish.yml") == {"push": {"tags": ["v*"]}}


def test_the_tests_run_everything_with_both_hosts() -> None:
    assert set(triggers("tests.yml")) == {"push", "pull_request", "workflow_call"}
    (job,) = workflow("tests.yml")["jobs"].values()
    hosts = [one["comfyui"] for one in job["strategy"]["matrix"]["include"]]
    project = (ROOT / "pyproject.toml").read_text("utf-8")
    oldest = re.search(r'requires-comfyui = ">=(.+)"', project)
    script = (ROOT / "dev.py").read_text("utf-8")
    newest = re.search(r'COMFYUI_VERSION = "(.+)"', script)
    assert oldest and newest and hosts == [f"v{oldest[1]}", newest[1]]
    # By their commits, which nobody can move, and the same one everywhere.
    commits = [one["commit"] for one in job["strategy"]["matrix"]["include"]]
    pinned = re.search(r'COMFYUI_COMMIT = "([0-9a-f]{40})"', script)
    assert pinned and commits[1] == pinned[1] and re.fullmatch("[0-9a-f]{40}", commits[0])
    assert job["steps"][-1]["run"] == 'COMFYUI_PATH="$RUNNER_TEMP/ComfyUI" .ci/run $TESTS'
    # An old front end is not worth keeping back a release for; its host is.
    chosen = [one["tests"] for one in job["strategy"]["matrix"]["include"]]
    assert chosen == ["tests/unit tests/host", ""]
    assert "continue-on-error" not in str(workflow("tests.yml"))


@pytest.mark.parametrize("name", ["tests.yml", "publish.yml"])
def test_workflows_may_only_read_and_name_what_they_run_exactly(name: str) -> None:
    text = workflow(name)
    assert text["permissions"] == {"contents": "read"}
    assert all("permissions" not in job for job in text["jobs"].values())
    used = [step["uses"] for step in steps(name) if "uses" in step]
    assert used
    for action in used:
        assert re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40}", action), action
    # What a stranger can name, a branch or a title, never becomes part of a command.
    for step in steps(name):
        assert "${{" not in step.get("run", "")


def test_what_a_workflow_installs_is_pinned_by_its_hash() -> None:
    installing = [step["run"] for step in steps("publish.yml") if "pip install" in str(step)]
    assert len(installing) == 1 and "--require-hashes" in installing[0]
    text = (ROOT / ".github" / "publish-requirements.txt").read_text("utf-8")
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    assert len(lines) > 10 and any(line.startswith("comfy-cli==") for line in lines)
    for line in lines:
        assert re.fullmatch(r"[a-z0-9.-]+==[\w.]+ --hash=sha256:[0-9a-f]{64}", line), line


def copy(folder: Path) -> Path:
    for name in FILES:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, folder / name)
    return folder


def edit(folder: Path, name: str, old: str, new: str) -> None:
    text = (folder / name).read_text("utf-8")
    assert re.search(old, text, re.MULTILINE), old
    (folder / name).write_text(re.sub(old, new, text, count=1, flags=re.MULTILINE), "utf-8")


def test_one_version_everywhere(tmp_path: Path) -> None:
    assert release.differences() == []
    version = release.version()
    for name, old, new, words in (
        ("pyproject.toml", r'^version = ".*"', 'version = "9.9"', "is not X.Y.Z"),
        ("CHANGELOG.md", r"^## .*$", "## 9.9.9", "the changelog begins with '9.9.9'"),
    ):
        edit(copy(tmp_path), name, old, new)
        assert any(words in one for one in release.differences(tmp_path)), words
    edit(copy(tmp_path), "CHANGELOG.md", r"^## .*$", f"## [{version}] - 2026-01-01")
    assert release.differences(tmp_path) == []


def test_a_tag_is_published_only_when_all_is_named(tmp_path: Path) -> None:
    version = release.version()
    copy(tmp_path)
    edit(tmp_path, "CHANGELOG.md", r"^## .*$", f"## {version}")
    edit(tmp_path, "pyproject.toml", r'^PublisherId = ".*"', 'PublisherId = "somebody"')
    assert release.problems(f"v{version}", tmp_path) == []
    assert "the tag is 'v9.9.9'" in release.problems("v9.9.9", tmp_path)[0]
    edit(tmp_path, "CHANGELOG.md", r"^## .*$", "## Unreleased")
    edit(tmp_path, "pyproject.toml", r'^PublisherId = ".*"', 'PublisherId = ""')
    found = release.problems(f"v{version}", tmp_path)
    assert len(found) == 2 and "Unreleased" in found[0] and "PublisherId" in found[1]


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="not a git checkout")
def test_the_archive_holds_what_a_user_needs_and_nothing_else() -> None:
    files = packed()
    tops = {name.split("/")[0] for name in files}
    assert tops == {
        *("__init__.py", "pyproject.toml", "requirements.txt", "requirements-faceid.txt"),
        *("README.md", "CHANGELOG.md", "LICENSE", "NOTICE", "SECURITY.md"),
        *("example_workflows", "ip_models", "locales", "nodes", "subgraphs", "web"),
        ".github",
    }
    pictures = {name for name in files if name.startswith(".github/")}
    assert pictures == {name for name in pictures if name.startswith(".github/pictures/")}
