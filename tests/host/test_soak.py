"""The watch of `dev.py soak` sees what grows and what goes otherwise, and nothing else."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from functools import partial

import pytest
from kit.server import live
from kit.server.live import Client, Prompt
from kit.server.live_graph import node
from soak import figures
from soak.figures import ALLOWED, Figures
from soak.session import Session
from soak.watch import NODES, Plan, Watch

LEAKING = NODES.with_name("leaking_nodes")
NUMBERS = itertools.count()
EVERY, WARM_UP, PROMPTS = 8, 8, 40
# As the figures of a server that is well: they go up and down.
WAVES = (0.0, 0.9, -0.4, 0.2, -0.8, 0.5)


def made(growing: str = "", per_hundred: float = 0.0, after: int = 0) -> list[Figures]:
    found: list[Figures] = []
    for number, prompts in enumerate(range(0, 1001, 50)):
        values = {"memory": 900 + WAVES[number % 6], "descriptors": 9, "threads": 5, "files": 80}
        if growing and prompts >= after:
            values[growing] += per_hundred * (prompts - after) / 100
        found.append(Figures(prompts, **values))  # pyright: ignore[reportArgumentType]
    return found


def test_what_goes_up_and_down_does_not_grow() -> None:
    assert figures.too_much(figures.growth(made(), 200)) == []


@pytest.mark.parametrize("name", ALLOWED)
def test_a_little_more_than_is_allowed_is_too_much(name: str) -> None:
    slope = ALLOWED[name] + 0.1
    found = figures.growth(made(name, slope), 200)
    assert found[name] == pytest.approx(slope, abs=0.05)
    assert figures.too_much(found) == [name]


def test_growth_at_the_beginning_is_none() -> None:
    early = [Figures(0, 100, 3, 1, 0), Figures(50, 500, 5, 4, 60), *made()[4:]]
    assert figures.too_much(figures.growth(early, 200)) == []


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    base = tmp_path_factory.mktemp("soak")
    with live.running(base, base / "models", packs=[NODES, LEAKING]) as running:
        (base / "temp").mkdir(exist_ok=True)
        yield running


def leak(what: str, session: Session) -> None:
    prompt = {"leak": node("IPASoakLeak", what=what, number=next(NUMBERS))}
    session.succeed(f"leak {what}", prompt)


def changing() -> dict[str, Prompt]:
    """A picture that is the same as long as nothing is kept."""
    prompt = {
        "kept": node("IPASoakChanging"),
        "picture": node("EmptyImage", width=8, height=8, batch_size=1, color=["kept", 0]),
        "save": node("SaveImage", images=["picture", 0], filename_prefix=f"{next(NUMBERS)}"),
    }
    return {"changing": prompt}


def watched(client: Client, *kinds: str) -> Watch:
    seen = Watch(Session(client, seed=0), EVERY, WARM_UP)
    acts = [(kind, partial(leak, kind)) for kind in kinds]
    seen.run(Plan(acts, [("nothing", lambda session: None)], changing()), PROMPTS)
    return seen


def test_the_watch_sees_a_leak_of_each_kind_and_none_where_there_is_none(client: Client) -> None:
    quiet = watched(client, "nothing")
    assert quiet.session.faults == []
    assert set(figures.too_much(figures.growth(quiet.noted, WARM_UP))) <= {"memory"}
    loud = watched(client, *ALLOWED)
    found = figures.growth(loud.noted, WARM_UP)
    assert figures.too_much(found) == list(ALLOWED)
    # A quarter of the acts each, and a control picture with every eight of them.
    assert all(10 < found[name] < 40 for name in ALLOWED), found
    assert loud.session.faults
    assert all("control changing: is another picture" in one for one in loud.session.faults)


def test_the_session_notes_what_goes_otherwise(client: Client) -> None:
    session = Session(client, seed=0)
    failing = {"show": node("PreviewAny", source=["bad", 0]), "bad": tensor("2xx2")}
    fine = {"show": node("PreviewAny", source=["good", 0]), "good": tensor("1x8x8x3")}
    session.succeed("fails", failing)
    session.fail("succeeds", fine, [])
    session.fail("other words", failing, ["a word that is not in it"])
    session.refuse("runs", fine, "")
    session.answer("not ours", failing)
    session.succeed("unknown", {"a": node("IPANoSuchNode")})
    session.picture("none", fine)
    names = [fault.split(": ", 1)[0].split(", ", 1)[1] for fault in session.faults]
    assert names == ["fails", "succeeds", "other words", "runs", "not ours", "unknown", "none"]
    assert session.prompts == 7
    session.succeed("fine", fine)
    session.fail("fails", failing, ["ValueError", "invalid literal"])
    session.refuse("unknown", {"a": node("IPANoSuchNode")}, "IPANoSuchNode")
    assert len(session.faults) == 7


def tensor(shape: str) -> dict[str, object]:
    return node("IPATestTensor", shape=shape, value=0.5)
