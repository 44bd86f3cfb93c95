"""A guard around a pack, which others may have written.

Where the recipe loads a pack, it puts a `GuardedPack` around it. That one checks the type of everything that
comes back, turns whatever a method raises into one `PackError` that names the pack, the method and the
arguments, sets a deadline, and asks some calls twice. So a fault of a pack stops the run and is never priced.

Limits: a method that holds Python's global lock for ever, as one hopeless regular expression does, stops its
process without a word. `python -m tasks.check` finds that beforehand, if a check of it comes that far.
"""

from __future__ import annotations

import asyncio
import copy
import random
import threading
import time
import types
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Generator, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import Any, TypeVar

from tasks import guard_types as expect
from tasks.contract import (
    Accepted,
    CheckBrokenError,
    KindSpec,
    Message,
    PackUnavailableError,
    Rejected,
    TaskPack,
    TaskRecord,
    Verdict,
)
from tasks.guard_types import Expect

DEADLINE_S = 3600.0
"""Seconds that one call may take, if nobody says otherwise: checks may wait in a queue for a sandbox."""

REPEAT_EVERY = 64
"""Of so many calls of a method, one is made twice."""

Watch = Callable[[Callable[[], "PackError"]], AbstractContextManager[None]]
"""Keeps an eye on code that may never come back; its argument makes the error to report then."""

Call = Callable[[], str]
"""Describes a call in words: made when they are needed, since most calls have no fault."""

Result = TypeVar("Result")

BAD_SETTING = (ValueError, FileNotFoundError)
"""What a pack may raise about its configuration, such as a file that it names; the run has not begun then."""


def bad_setting(pack: str, error: Exception) -> Exception:
    """The same complaint about a setting, with the name of the pack."""
    kind = FileNotFoundError if isinstance(error, FileNotFoundError) else ValueError
    return kind(f"pack {pack}: {error}")


class PackError(RuntimeError):
    """A pack broke its contract. One line: the pack, the method, the arguments, and what is wrong."""


class GuardedPack(TaskPack):
    """A pack that keeps its contract or raises `PackError`.

    Args:
        pack: The pack.
        deadline_s: Seconds that a call may take.
        tell: Called with every error before it is raised, where raising alone stops nothing.
        watch: Put around everything that runs without giving way to the event loop.
        repeat_every: Of so many calls of a method, one is made twice and has to give the same.

    Raises:
        PackError: `pack` is no pack.
    """

    def __init__(
        self,
        pack: TaskPack,
        deadline_s: float = DEADLINE_S,
        tell: Callable[[PackError], None] | None = None,
        watch: Watch | None = None,
        repeat_every: int = REPEAT_EVERY,
    ) -> None:
        self._pack = pack
        self._deadline_s = deadline_s
        self._tell = tell
        self._watch = watch
        self._repeat_every = repeat_every
        self._num_calls: Counter[str] = Counter()
        for attribute, expected in expect.ATTRIBUTES.items():
            value = getattr(pack, attribute, None)
            if fault := expected(value):
                raise PackError(f"pack {type(pack).__name__}: {attribute} {fault}")
        # Facts of the instance here, of the class in the contract.
        self.name = pack.name  # type: ignore[misc]
        self.held_out_version = pack.held_out_version  # type: ignore[misc]
        self.checks_repeat = pack.checks_repeat  # type: ignore[misc]
        self.resolves = pack.resolves

    def require_available(self) -> None:
        """See `TaskPack.require_available`."""
        self._call(
            "require_available", self._pack.require_available, expect.nothing, allowed=(PackUnavailableError,)
        )

    @property
    def kinds(self) -> tuple[KindSpec, ...]:
        """See `TaskPack.kinds`."""
        return self._call("kinds", lambda: self._pack.kinds, expect.kinds)

    def seeds(self) -> Sequence[TaskRecord]:
        """See `TaskPack.seeds`."""
        return self._call("seeds", self._pack.seeds, self._records, allowed=BAD_SETTING)

    def propose_prompt(
        self, kind: str, references: Sequence[TaskRecord], rng: random.Random, *, step: int = 0
    ) -> list[Message]:
        """See `TaskPack.propose_prompt`."""
        return self._call(
            "propose_prompt", self._pack.propose_prompt, expect.messages, kind, references, rng, step=step
        )

    async def accept(
        self, kind: str, response: str, references: Sequence[TaskRecord], *, step: int = 0
    ) -> Accepted | Rejected:
        """See `TaskPack.accept`."""
        return await self._call_async(
            "accept", self._pack.accept, expect.accepted(kind), kind, response, references, step=step
        )

    async def resolve(self, record: TaskRecord, responses: Sequence[str]) -> Accepted | Rejected:
        """See `TaskPack.resolve`."""
        return await self._call_async(
            "resolve", self._pack.resolve, expect.accepted(record.kind), record, responses
        )

    @property
    def feature_names(self) -> tuple[str, ...]:
        """See `TaskPack.feature_names`."""
        return self._call("feature_names", lambda: self._pack.feature_names, expect.names)

    def features(
        self, record: TaskRecord, references: Sequence[TaskRecord], names: Sequence[str]
    ) -> dict[str, float]:
        """See `TaskPack.features`."""
        return self._call("features", self._pack.features, expect.features(names), record, references, names)

    def answer_key(self, record: TaskRecord) -> str | None:
        """See `TaskPack.answer_key`."""
        return self._call("answer_key", self._pack.answer_key, expect.optional_text, record)

    def structure_key(self, record: TaskRecord) -> str | None:
        """See `TaskPack.structure_key`."""
        return self._call("structure_key", self._pack.structure_key, expect.optional_text, record)

    def difficulty(self, record: TaskRecord) -> str:
        """See `TaskPack.difficulty`."""
        return self._call("difficulty", self._pack.difficulty, expect.label, record)

    @property
    def measure_names(self) -> tuple[str, ...]:
        """See `TaskPack.measure_names`."""
        return self._call("measure_names", lambda: self._pack.measure_names, expect.names)

    def solve_prompt(self, record: TaskRecord) -> list[Message]:
        """See `TaskPack.solve_prompt`."""
        return self._call("solve_prompt", self._pack.solve_prompt, expect.messages, record)

    async def judge(self, record: TaskRecord, response: str) -> Verdict:
        """See `TaskPack.judge`."""
        expected = expect.verdict(self.measure_names)
        return await self._call_async("judge", self._pack.judge, expected, record, response)

    def gold_response(self, record: TaskRecord) -> str:
        """See `TaskPack.gold_response`."""
        return self._call("gold_response", self._pack.gold_response, expect.text, record)

    def worked_response(self, record: TaskRecord) -> str:
        """See `TaskPack.worked_response`."""
        return self._call("worked_response", self._pack.worked_response, expect.text, record)

    def gold_proposal(self, record: TaskRecord) -> str:
        """See `TaskPack.gold_proposal`."""
        return self._call("gold_proposal", self._pack.gold_proposal, expect.text, record)

    def sample_record(self, kind: str, rng: random.Random) -> TaskRecord:
        """See `TaskPack.sample_record`."""
        return self._call("sample_record", self._pack.sample_record, expect.record_of(kind), kind, rng)

    def held_out(self) -> Sequence[TaskRecord]:
        """See `TaskPack.held_out`."""
        return self._call("held_out", self._pack.held_out, self._records, allowed=BAD_SETTING)

    def held_out_groups(self, record: TaskRecord) -> tuple[str, ...]:
        """See `TaskPack.held_out_groups`."""
        return self._call("held_out_groups", self._pack.held_out_groups, expect.groups, record)

    def task_key(self, record: TaskRecord) -> str:
        """See `TaskPack.task_key`."""
        return self._call("task_key", self._pack.task_key, expect.text, record)

    def _records(self, value: object) -> str:
        return expect.records([spec.name for spec in self.kinds], value)

    def _call(
        self,
        method: str,
        function: Callable[..., Result],
        expected: Expect,
        *arguments: Any,
        allowed: tuple[type[Exception], ...] = (),
        **options: Any,
    ) -> Result:
        """Call a method, twice where it is due, and check what it returns."""
        call = partial(_describe, method, arguments, options)
        due = self._is_due(method)
        copies = copy.deepcopy(arguments) if due else ()  # a generator is drawn from once

        def once(given: Sequence[Any]) -> Result:
            with self._named(call, allowed), self._watched(call):
                return function(*given, **options)

        result = once(arguments)
        self._check(call, expected(result))
        if due:
            self._check_untouched(call, copies, arguments)
            self._compare(call, result, once(copies))
        return result

    async def _call_async(
        self,
        method: str,
        function: Callable[..., Awaitable[Result]],
        expected: Expect,
        *arguments: Any,
        **options: Any,
    ) -> Result:
        """`_call` for a coroutine, with a deadline."""
        call = partial(_describe, method, arguments, options)

        async def once() -> Result:
            with self._named(call):
                started = function(*arguments, **options)
                if not isinstance(started, Coroutine):
                    raise TypeError(f"{method} must be `async def`; it returned {expect.short(started)}")
                deadline = asyncio.timeout(self._deadline_s)
                try:
                    async with deadline:
                        return await _step_by_step(started, partial(self._watched, call))
                except TimeoutError:
                    if not deadline.expired():
                        raise
                    raise self._late(call) from None

        due = self._is_due(method)
        copies = copy.deepcopy(arguments) if due else ()
        result = await once()
        self._check(call, expected(result))
        if due:
            self._check_untouched(call, copies, arguments)
            if self.checks_repeat:
                self._compare(call, result, await once())
        return result

    def _is_due(self, method: str) -> bool:
        self._num_calls[method] += 1
        return self._num_calls[method] % self._repeat_every == 0

    @contextmanager
    def _named(self, call: Call, allowed: tuple[type[Exception], ...] = ()) -> Iterator[None]:
        """Give a name to whatever is raised inside, but for what the contract allows."""
        passing: tuple[type[Exception], ...] = (CheckBrokenError, *allowed)
        try:
            yield
        except PackError as error:
            self._raise(error)
        except passing as error:
            if isinstance(error, BAD_SETTING):
                raise bad_setting(self.name, error) from error
            raise
        except (Exception, SystemExit, asyncio.CancelledError) as error:  # the boundary to code of others
            if isinstance(error, asyncio.CancelledError) and _is_being_cancelled():
                raise
            self._raise(self._error(call, f"raised {expect.short_error(error)}"), error)

    def _check(self, call: Call, fault: str) -> None:
        if fault:
            self._raise(self._error(call, fault))

    def _check_untouched(self, call: Call, before: Sequence[Any], after: Sequence[Any]) -> None:
        for was, found in zip(before, after, strict=True):
            # A generator is there to be drawn from.
            if not isinstance(found, random.Random) and found != was:
                both = f"{expect.short(was)} and then {expect.short(found)}"
                self._raise(self._error(call, f"must leave its arguments as they are; one was {both}"))

    def _compare(self, call: Call, first: object, second: object) -> None:
        if first != second:
            both = f"{expect.short(first)} and then {expect.short(second)}"
            fault = f"must return the same for the same arguments; it returned {both}"
            self._raise(self._error(call, fault))

    def _watched(self, call: Call) -> AbstractContextManager[None]:
        return nullcontext() if self._watch is None else self._watch(partial(self._late, call))

    def _late(self, call: Call) -> PackError:
        return self._error(call, f"did not return within {self._deadline_s:g} s")

    def _error(self, call: Call, fault: str) -> PackError:
        return PackError(f"pack {self.name}: {call()} {fault}")

    def _raise(self, error: PackError, cause: BaseException | None = None) -> None:
        if self._tell is not None:
            self._tell(error)
        raise error from cause


class ThreadWatch:
    """A watch that tells from a thread of its own, since the one that runs the pack does not come back.

    In each thread there is one call under way at any moment.

    Args:
        deadline_s: Seconds after which it tells.
        tell: Called once, in the other thread.
    """

    def __init__(self, deadline_s: float, tell: Callable[[PackError], None]) -> None:
        self._deadline_s = deadline_s
        self._tell = tell
        self._under_way: dict[int, tuple[float, Callable[[], PackError]]] = {}
        # Not a timer a call: starting a thread costs more than most checks.
        threading.Thread(target=self._look, name="pack-watch", daemon=True).start()

    @contextmanager
    def __call__(self, late: Callable[[], PackError]) -> Iterator[None]:
        """See `Watch`."""
        thread = threading.get_ident()
        self._under_way[thread] = (time.monotonic(), late)
        try:
            yield
        finally:
            del self._under_way[thread]

    def _look(self) -> None:
        while True:
            time.sleep(min(self._deadline_s / 2, 1.0))
            for since, late in list(self._under_way.values()):
                if time.monotonic() - since > self._deadline_s:
                    self._tell(late())
                    return


def _is_being_cancelled() -> bool:
    """Whether somebody asked for the end of the task that runs, where one does."""
    try:
        task = asyncio.current_task()
    except RuntimeError:  # no event loop in this thread
        return False
    return task is not None and task.cancelling() > 0


def _describe(method: str, arguments: Sequence[Any], options: Mapping[str, Any]) -> str:
    given = [expect.short(argument) for argument in arguments]
    given += [f"{name}={expect.short(value)}" for name, value in options.items()]
    return f"{method}({', '.join(given)})"


@types.coroutine
def _step_by_step(
    coroutine: Coroutine[Any, Any, Result], watch: Callable[[], AbstractContextManager[None]]
) -> Generator[Any, Any, Result]:
    """Await a coroutine, with `watch` around each stretch in which the event loop is not its own master.

    A watch around the whole would blame every call that waits while one of them blocks.
    """
    resume: Callable[[Any], Any] = coroutine.send
    value: Any = None
    while True:
        try:
            with watch():
                awaited = resume(value)
        except StopIteration as done:
            result: Result = done.value
            return result
        try:
            value, resume = (yield awaited), coroutine.send
        except BaseException as error:  # a cancellation goes where it was meant to go
            value, resume = error, coroutine.throw
