"""The head of a farm: hands rows to workers that Ray keeps alive, and keeps what they make.

Ray Data's actor pool was tried and left for Ray's actors themselves, for four things that a job is
promised: a row is kept as soon as it is made and not with its block; rows of one reference stay
with a worker; a row whose server falls silent goes to another worker while that one waits; and the
first picture does not wait until every row is planned. It also took 7 ms a row in the driver where
this takes 2. Restarts, retries, transfer and placement are Ray's.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import ray

from .crew import Crew, Gone, Roll, Unfit, outcome
from .keeper import Counts, Keeper
from .references import Embeds, References
from .rows import Line, Plan, Planner
from .work import Cut, FarmError, Made, counted, unmade

LOOK_SECONDS = 0.5  # between two looks at whether the user wants to stop
WORD_SECONDS = 15  # for a word of a server at the end; a dead one takes ten
STOP_SECONDS = 5


@dataclass
class Head:
    """One run over the rows of a job.

    Args:
        say: takes sentences for the user.
        progress: is called whenever a row came to an end.

    Attributes:
        keys: of the rows, by place, as far as their turn came.
        problems: of rows that cannot even be planned.
    """

    planner: Planner
    keeper: Keeper
    crew: Crew
    say: Callable[[str], None] = lambda sentence: None
    progress: Callable[[Counts], None] = lambda counts: None
    counts: Counts = field(default_factory=Counts)

    def __post_init__(self) -> None:
        self.keys: list[str | None] = [None] * len(self.planner.jobs)
        self.problems: dict[int, Made] = {}
        self._line = Line(self.planner.groups())
        self._again = deque[Plan]()  # rows whose turn came before
        self._late = deque[tuple[float, Plan]]()  # rows that lost their worker, and not before when
        self._flying: Counter[str] = Counter()  # rows of a key that is being made
        self._spent = set[str]()  # keys that failed in this run
        self._losses: Counter[str] = Counter()
        self._references = References(Embeds(self.keeper.folder), ray.put)
        self._workers: list[Any] = []
        self._lives: dict[int, str] = {}
        self._roll = Roll(self.crew, self.say)
        self._idle = deque[int]()
        self._calls: dict[Any, Callable[[Any], None]] = {}  # what to do with their results
        self._busy = 0  # calls that are no greetings

    def run(self) -> Counts:
        """Make every row that is not there.

        Raises:
            FarmError: no worker can work, or the results cannot be written.
        """
        self._workers = self.crew.hire()
        for worker in range(len(self._workers)):
            self._greet(worker)
        try:
            while not self.counts.stopped and (self._busy or self._more()):
                self._step()
                self._roll.look(bool(self._busy or self._idle))
            end = time.monotonic() + WORD_SECONDS
            while self._roll.unheard and not self.counts.stopped and time.monotonic() < end:
                self._step()
            if not self.counts.stopped:
                self._roll.close()
        finally:
            self._dismiss()
        return self.counts

    def stop(self) -> None:
        """End the run soon; what is being made is given up."""
        self.counts.stopped = True

    def _more(self) -> bool:
        return bool(self._again or self._late or self._references.parked or self._line)

    def _step(self) -> None:
        """Take a result, if there is one soon."""
        if self._calls:
            for call in ray.wait([*self._calls], timeout=LOOK_SECONDS)[0]:
                self._calls.pop(call)(call)
        else:
            time.sleep(LOOK_SECONDS)  # for a row that is to be tried later
        if self._late and not self._line:
            self._wake()

    def _call(self, worker: int, then: Callable[[Any], None], call: Any) -> None:
        """Have `then` called with what a call to a worker brings."""

        def arrived(done: Any) -> None:
            life, result = outcome(done)
            if life and self._lives.setdefault(worker, life) != life:
                self._lives[worker] = life
                self.counts.replaced += 1
            then(result)

        self._calls[call] = arrived

    def _greet(self, worker: int) -> None:
        """Give a worker rows as soon as it can take some."""

        def greeted(result: Any) -> None:
            if isinstance(result, Unfit):
                self._leave(worker, result)
            elif isinstance(result, Gone):
                self._roll.gone(worker, result.message)
                self._greet(worker)
            else:
                self._roll.here(worker)
                self._feed(worker)

        self._roll.asked(worker)
        self._call(worker, greeted, self._workers[worker].ready.remote())

    def _leave(self, worker: int, unfit: Unfit) -> None:
        if unfit.job:
            raise FarmError(unfit.message)
        why = unfit.message
        if unfit.log:
            why += f" (its log: {self.keeper.keep_log(f'comfyui-{worker + 1}', unfit.log)})"
        self._roll.unfit(worker, why)

    def _feed(self, worker: int) -> None:
        """Send a worker what is to be done next."""
        while not self.counts.stopped:
            if self._references.asked:
                return self._encode(worker, self._references.asked.popleft())
            plan = self._next(worker)
            if plan is None:
                break
            if self._make(worker, plan):
                return None
        return self._idle.append(worker)

    def _wake(self) -> None:
        for _ in range(len(self._idle)):
            self._feed(self._idle.popleft())

    def _dismiss(self) -> None:
        """End all workers, and what they began."""
        calls = [self._workers[worker].close.remote() for worker in self._lives]
        if calls:
            ray.wait(calls, num_returns=len(calls), timeout=STOP_SECONDS)
        for worker in self._workers:
            ray.kill(worker)

    def _next(self, worker: int) -> Plan | None:
        if self._again:
            return self._again.popleft()
        # No more rows than needed wait for references; those of others can be made meanwhile.
        while self._references.rows <= 2 * len(self._workers):
            place = self._line.take(worker)
            if place is None:
                # What took a worker may take the next: it comes after all others, and not at once.
                due = self._late and self._late[0][0] <= time.monotonic()
                return self._late.popleft()[1] if due else None
            if self.counts.stopped:
                return None
            plan = self._plan(place)
            if plan is not None:
                return plan
        return None

    def _plan(self, place: int) -> Plan | None:
        """The plan of a row; None where nothing is to be made."""
        try:
            plan = self.planner.plan(place)
        except FarmError as error:
            self.problems[place] = unmade(error.problem or "farm.Row", str(error))
            self.counts.failed += 1
            self.progress(self.counts)
            return None
        self.keys[place] = plan.key
        if self._flying[plan.key]:
            self._flying[plan.key] += 1
            return None
        if plan.key in self._spent:
            self.counts.failed += 1
        elif self.keeper.has(plan.key):
            self.counts.found += 1
        else:
            self._flying[plan.key] = 1
            return plan
        self.progress(self.counts)
        return None

    def _make(self, worker: int, plan: Plan) -> bool:
        """Whether a row went to a worker; else it waits for its references, or cannot be made."""
        problem = self._references.problem(plan)
        if problem:
            self._end(plan, problem)
            return False
        references = self._references.contents(plan)
        if references is None:
            return False
        graph, names = plan.filled.graph, plan.filled.files
        try:
            contents = [self.planner.files.get(name) for name in names]
        except FarmError as error:
            self._end(plan, unmade(error.problem, str(error)))
            return False
        embeds = [cut.embeds for cut in plan.cuts]
        contents += references
        call = self._workers[worker].make.remote(plan.key, graph, names, embeds, *contents)
        self._busy += 1
        self._call(worker, partial(self._made, worker, plan), call)
        return True

    def _made(self, worker: int, plan: Plan, result: Made | Gone | Unfit) -> None:
        self._busy -= 1
        if isinstance(result, Made):
            self._feed(worker)  # before the pictures are written: it need not wait for that
            return self._end(plan, result)
        if isinstance(result, Unfit):
            self._end(plan, unmade(result.problem, result.message))
        else:
            why = self._lost(plan.key, result)
            if why:
                self._end(plan, why)
            else:
                self._late.append((time.monotonic() + self.crew.pause, plan))
        self._greet(worker)
        self._wake()

    def _lost(self, key: str, result: Gone) -> Made | None:
        """Why a row or reference is not tried again; None where it is."""
        self._losses[key] += 1
        if self._losses[key] < self.crew.tries:
            return None
        said = f"it lost {counted(self.crew.tries, 'worker')}, the last so: {result.message}"
        return unmade("farm.Lost", said)

    def _end(self, plan: Plan, made: Made) -> None:
        if made.message:
            made = replace(made, message=self.planner.files.told(made.message, plan.filled.files))
        self.keeper.keep(plan.key, made)
        rows = self._flying.pop(plan.key)
        self._losses.pop(plan.key, None)
        if made.message:
            self._spent.add(plan.key)
            self.counts.failed += rows
        else:
            self.counts.made += rows
        self.progress(self.counts)

    def _encode(self, worker: int, cut: Cut) -> None:
        try:
            contents = [self.planner.files.get(name) for name in cut.files]
        except FarmError as error:
            self._refuse(cut, unmade(error.problem, str(error)))
            return self._feed(worker)
        call = self._workers[worker].encode.remote(cut.key, cut.graph, cut.files, *contents)
        self._busy += 1
        self._call(worker, partial(self._encoded, worker, cut), call)

    def _encoded(self, worker: int, cut: Cut, result: bytes | Gone | Unfit) -> None:
        self._busy -= 1
        if isinstance(result, bytes):
            self.counts.encoded += 1
            self._again.extend(self._references.keep(cut, result))
            self._feed(worker)
        elif isinstance(result, Unfit):
            self._refuse(cut, unmade(result.problem, result.message))
            self._greet(worker)
        else:
            why = self._lost(cut.key, result)
            if why:
                self._refuse(cut, why)
            else:
                self._references.asked.append(cut)
            self._greet(worker)
        self._wake()

    def _refuse(self, cut: Cut, why: Made) -> None:
        why = replace(why, message=self.planner.files.told(why.message, cut.files))
        self._again.extend(self._references.refuse(cut, why))
