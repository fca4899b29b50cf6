"""The threads for what the editor asks: how many, for how long, and that none keeps the others."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

import pytest
from pack.ip_models import limits
from pack.ip_models.errors import RefusedRequest
from pack.ip_models.weights.editor_data import drawn_schedule, drawn_weights
from pack.nodes.host.files import folders
from pack.nodes.host.model.backbones.layers import VOCABULARY
from pack.nodes.host.requests import content
from pack.nodes.host.requests.pool import Pool
from pack.nodes.plus.steps import moving

HELD = 0.1  # seconds that other threads may have to wait
LETTERS = 100_000  # of weights, above which they are refused by their length


@contextmanager
def occupied() -> Generator[Callable[[], object]]:
    """Work that does not end before the block does."""
    gate = threading.Event()
    try:
        yield lambda: gate.wait(60)
    finally:
        gate.set()


async def refused(pool: Any, work: Callable[[], object]) -> Any:
    with pytest.raises(RefusedRequest) as caught:
        await pool.answer(work)
    return caught.value


def test_more_than_may_wait_is_refused_at_once_and_room_comes_back() -> None:
    async def ask() -> None:
        pool = Pool(threads=1, waiting=2, seconds=30)
        with occupied() as work:
            held = [asyncio.ensure_future(pool.answer(work)) for _ in range(3)]
            await asyncio.sleep(0)
            for _ in range(5):
                refusal = await refused(pool, work)
                assert refusal.status == 503 and "wait for an answer" in str(refusal)
        assert await asyncio.gather(*held) == [True] * 3
        answers = [pool.answer(lambda one=one: one) for one in range(3)]
        assert await asyncio.gather(*answers) == [0, 1, 2]

    asyncio.run(ask())


def test_nobody_waits_for_ever_and_what_is_stuck_counts_until_it_ends() -> None:
    async def ask() -> None:
        pool, ran = Pool(threads=1, waiting=1, seconds=0.2), list[str]()
        with occupied() as work:
            waiting = asyncio.ensure_future(refused(pool, work))
            behind = asyncio.ensure_future(refused(pool, lambda: ran.append("given up")))
            assert "in 0.2 seconds" in str(await waiting)
            assert (await behind).status == 503
            # One is given up before its turn; the other holds its thread still.
            last = asyncio.ensure_future(refused(pool, lambda: ran.append("given up, too")))
            await asyncio.sleep(0)
            assert "too many questions" in str(await refused(pool, work))
            assert "in 0.2 seconds" in str(await last)
        assert await pool.answer(lambda: "free") == "free"
        assert ran == []

    asyncio.run(ask())


def test_an_error_of_the_work_is_its_own_and_costs_no_room() -> None:
    async def ask() -> None:
        pool = Pool(threads=1, waiting=0, seconds=30)
        for _ in range(3):
            with pytest.raises(ZeroDivisionError):
                await pool.answer(lambda: 1 // 0)
        assert await pool.answer(lambda: "free") == "free"

    asyncio.run(ask())


def longest_hold(work: Callable[[], object]) -> float:
    """The longest time for which another thread could not run."""
    # Of this process' own time: the machine may be busy with something else.
    gaps, done = [0.0], threading.Event()

    def tick() -> None:
        before = time.process_time()
        while not done.is_set():
            time.sleep(0.001)
            now = time.process_time()
            gaps.append(now - before)
            before = now

    ticker = threading.Thread(target=tick)
    ticker.start()
    try:
        work()
    finally:
        done.set()
        ticker.join()
    return max(gaps)


def filled(piece: str, most: int) -> str:
    return piece * (most // len(piece))


WEIGHTS = {
    "entries": ",".join(f"{number}:1" for number in range(LETTERS // 8)),
    "ranges": filled("0-999:1,", LETTERS),
    "digits": "1:" + filled("1", LETTERS - 3) + "x",
    "spaces": "0" + filled(" ", LETTERS - 4) + ":1x",
    "factors": '{"down": [' + filled("1,", LETTERS - 20) + "1]}",
    "of Python": "{'down': [" + filled("1,", LETTERS - 20) + "1]}",
    "of Python, long": "{'down': [" + filled("1,", 90_000) + "1]}",
    "deep": filled("[", LETTERS),
    "keys": "{" + ",".join(f'"{number}":1' for number in range(LETTERS // 10)) + "}",
    "signs": "{'down': " + filled("-", LETTERS - 20) + "1}",
}
BODIES = {
    "lists": "[" + filled("[],", limits.QUESTION_BYTES - 4) + "1]",
    "as many lists as may be": '{"values": [' + "[]," * (limits.QUESTION_PARTS - 2) + "1]}",
    "numbers": "[" + filled("1,", limits.QUESTION_BYTES - 4) + "1]",
    "deep": filled("[", limits.QUESTION_BYTES),
    "values": json.dumps({"values": filled("1,", 1_000_000)}),
    "names": json.dumps(
        {"adapters": [filled("a", 9000)] * 100, "loaders": [{"preset": "x"}] * 100}
    ),
}


def require_short(work: Callable[[], object]) -> None:
    # What holds the others does so each time.
    holds: list[float] = []
    while len(holds) < 3 and min(holds, default=1) >= HELD:
        holds.append(longest_hold(work))
    assert min(holds) < HELD


@pytest.mark.parametrize("text", WEIGHTS.values(), ids=WEIGHTS)
def test_no_text_of_weights_holds_the_other_threads(text: str) -> None:
    given = {"preset": "custom", "weights": text, "composition": 1, "boost": 1}
    assert len(text) <= LETTERS
    require_short(lambda: json.dumps(drawn_weights(given, VOCABULARY)))


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_no_question_holds_the_other_threads(body: str) -> None:
    folders.register()

    def answer() -> None:
        try:
            given = content.question(body.encode())
        except RefusedRequest:
            return
        schedule = {"start": 1, "end": 1, "curve": "linear", **given}
        json.dumps([drawn_schedule(schedule), moving.answers(given)])

    assert len(body) <= limits.QUESTION_BYTES
    require_short(answer)


def test_the_ticker_sees_what_holds_the_others() -> None:
    digits = "1" * 4000
    assert longest_hold(lambda: sum(range(3 * 10**7))) > HELD
    assert longest_hold(lambda: [int(digits) for _ in range(1000)]) < HELD
