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
import inspect
import random
import re
import reprlib
import threading
import time
import types
from collections import Counter
from collections.abc import Callable, Coroutine, Generator, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial, wraps
from types import MappingProxyType
from typing import Any, NoReturn, TypeVar, cast

from tasks.contract import (
    Accepted,
    CheckBrokenError,
    KindSpec,
    PackUnavailableError,
    Rejected,
    TaskPack,
    TaskRecord,
    Verdict,
    is_number,
)

DEADLINE_S = 3600.0
"""Seconds that one call may take, if nobody says otherwise: checks may wait in a queue for a sandbox."""

REPEAT_EVERY = 64
"""Of so many calls of a method, one is made twice."""

Watch = Callable[[Callable[[], "PackError"]], AbstractContextManager[None]]
"""Keeps an eye on code that may never come back; its argument makes the error to report then."""

Result = TypeVar("Result")

BAD_SETTING = (ValueError, FileNotFoundError)
"""What a pack may raise about its configuration, such as a file that it names; the run has not begun then."""

_repr = reprlib.Repr()
_repr.maxstring = _repr.maxother = _repr.maxlong = 160


def short(value: object) -> str:
    """A value in one short line, for a message."""
    return " ".join(_repr.repr(value).split())


def short_error(error: BaseException) -> str:
    """An exception's class and words, in one short line."""
    words = " ".join(str(error).split())[:300]
    return f"{type(error).__name__}: {words}" if words else type(error).__name__


def bad_setting(pack: str, error: Exception) -> Exception:
    """The same complaint about a setting, with the name of the pack."""
    kind = FileNotFoundError if isinstance(error, FileNotFoundError) else ValueError
    return kind(f"pack {pack}: {error}")


class PackError(RuntimeError):
    """A pack broke its contract. One line: the pack, the method, the arguments, and what is wrong."""


@dataclass(frozen=True)
class Expected:
    """What a member of a pack has to be or return, as far as the contract's own values do not see to it."""

    wanted: str  # it in words
    holds: Callable[[Any], object]  # whether a value is that
    each: Expected | None = None  # what every part of it has to be

    def fault(self, value: Any) -> str:
        """What is wrong with a value, in words; "" if nothing is."""
        if not self.holds(value):
            return f"{short(value)}; it must be {self.wanted}"
        return next((fault for part in value if (fault := self.each.fault(part))), "") if self.each else ""


def _spelled(pattern: str) -> Callable[[object], bool]:
    return lambda value: isinstance(value, str) and re.fullmatch(pattern, value) is not None


def _is_message(value: object) -> bool:
    parts = list(value.values()) if isinstance(value, dict) and set(value) == {"role", "content"} else [""]
    return all(isinstance(part, str) and part for part in parts)


def _are_kinds(value: object) -> bool:
    if not (isinstance(value, tuple) and value and all(isinstance(spec, KindSpec) for spec in value)):
        return False
    names = [spec.name for spec in value]
    return len(set(names)) == len(names) and all(set(spec.reference_kinds) <= set(names) for spec in value)


def _record(*kinds: str) -> Expected:
    wanted = f"a TaskRecord of kind {' or '.join(kinds)}"
    return Expected(wanted, lambda value: isinstance(value, TaskRecord) and value.kind in kinds)


def _answer(kind: str) -> Expected:
    def holds(value: object) -> bool:
        return value.record.kind == kind if isinstance(value, Accepted) else isinstance(value, Rejected)

    return Expected(f"Accepted or Rejected, with a record of kind {kind}", holds)


def _verdict(names: Sequence[str]) -> Expected:
    wanted = f"a Verdict with measures out of measure_names: {', '.join(names) or 'none'}"
    return Expected(wanted, lambda value: isinstance(value, Verdict) and set(value.measures) <= set(names))


def _records(pack: TaskPack) -> Expected:
    return Expected(
        "a sequence of TaskRecord",
        lambda value: isinstance(value, Sequence) and not isinstance(value, str),
        _record(*(spec.name for spec in pack.kinds)),
    )


def _features(names: Sequence[str]) -> Expected:
    def holds(value: Any) -> bool:
        is_whole = isinstance(value, Mapping) and set(value) == set(names)
        return is_whole and all(map(is_number, value.values()))

    return Expected(f"one finite number for each of {', '.join(names)}", holds)


_NOTHING = Expected("None", lambda value: value is None)
_FLAG = Expected("True or False", lambda value: isinstance(value, bool))
_TEXT = Expected("a string", lambda value: isinstance(value, str))
_KEY = Expected("a string or None", lambda value: value is None or isinstance(value, str))
_LABEL = "lower case letters, digits and hyphens, and not"
_DIFFICULTY = Expected(f"{_LABEL} 'none'", _spelled(r"(?!none\Z)[a-z0-9-]*"))
_NAMES = Expected("a tuple of strings", lambda value: isinstance(value, tuple), _TEXT)
_GROUPS = Expected(
    "a tuple of strings, at least one",
    lambda value: isinstance(value, tuple) and value,
    Expected(f"{_LABEL} 'all'", _spelled(r"(?!all\Z)[a-z0-9-]+")),
)
_PROMPT = Expected(
    "a list of messages, at least one",
    lambda value: isinstance(value, list) and value,
    Expected("a message with 'role' and 'content', two strings that are not empty", _is_message),
)
_KINDS = Expected(
    "a tuple of KindSpec, at least one, with unlike names, and references to kinds among them", _are_kinds
)

ATTRIBUTES = {
    "name": Expected("lower case letters, digits and underscores", _spelled("[a-z0-9_]+")),
    "held_out_version": Expected(
        "an integer", lambda value: isinstance(value, int) and not isinstance(value, bool)
    ),
    "checks_repeat": _FLAG,
    "resolves": _FLAG,
}
"""What the attributes of a pack have to be."""


@dataclass(frozen=True, slots=True)
class _Call:
    """A call of a method; in words, where a fault is reported."""

    method: str
    expected: Expected  # what it has to return
    arguments: tuple[Any, ...]
    options: Mapping[str, Any]
    allowed: tuple[type[Exception], ...]  # what it may raise
    copies: tuple[Any, ...] | None  # `arguments` as they were, if it is made twice

    def __str__(self) -> str:
        given = [short(argument) for argument in self.arguments]
        given += [f"{name}={short(value)}" for name, value in self.options.items()]
        return f"{self.method}({', '.join(given)})"


Method = TypeVar("Method", bound=Callable[..., Any])


def _guarded(
    method: Method,
    expected: Expected | Callable[..., Expected],
    allowed: tuple[type[Exception], ...] = (),
) -> Method:
    """A method of the contract as a `GuardedPack` has it.

    The pack's own is called with every argument that the contract has a default for: it may declare none.

    Args:
        method: The contract's.
        expected: What it has to return; or, of the guarded pack and the arguments, what that is.
        allowed: What it may raise.
    """
    signature, is_async = inspect.signature(method), inspect.iscoroutinefunction(method)

    @wraps(method, updated=())  # what it is abstract by stays behind
    def guarded(self: GuardedPack, *arguments: Any, **options: Any) -> Any:
        bound = signature.bind(self, *arguments, **options)
        bound.apply_defaults()
        given, wanted = bound.args[1:], expected
        if not isinstance(wanted, Expected):
            wanted = wanted(self, *given)
        call = self._begin(method.__name__, wanted, given, bound.kwargs, allowed)
        return self._call_async(call) if is_async else self._call(call)

    return cast(Method, guarded)


class GuardedPack(TaskPack):
    """A pack that keeps its contract or raises `PackError`.

    Args:
        pack: The pack.
        deadline_s: Seconds that a call may take.
        report: Called with every error before it is raised, where raising alone stops nothing.
        watch: Put around everything that runs without giving way to the event loop.
        repeat_every: Of so many calls of a method, one is made twice and has to give the same.

    Raises:
        PackError: `pack` is no pack.
    """

    def __init__(
        self,
        pack: TaskPack,
        deadline_s: float = DEADLINE_S,
        report: Callable[[PackError], None] | None = None,
        watch: Watch | None = None,
        repeat_every: int = REPEAT_EVERY,
    ) -> None:
        self._pack = pack
        self._deadline_s = deadline_s
        self._report = report
        self._watch = watch
        self._repeat_every = repeat_every
        self._num_calls: Counter[str] = Counter()
        for attribute, expected in ATTRIBUTES.items():
            value = getattr(pack, attribute, None)
            if fault := expected.fault(value):
                raise PackError(f"pack {type(pack).__name__}: {attribute} is {fault}")
            setattr(self, attribute, value)

    @property
    def kinds(self) -> tuple[KindSpec, ...]:
        return cast(tuple[KindSpec, ...], self._call(self._begin("kinds", _KINDS)))

    @property
    def feature_names(self) -> tuple[str, ...]:
        return cast(tuple[str, ...], self._call(self._begin("feature_names", _NAMES)))

    @property
    def measure_names(self) -> tuple[str, ...]:
        return cast(tuple[str, ...], self._call(self._begin("measure_names", _NAMES)))

    require_available = _guarded(TaskPack.require_available, _NOTHING, allowed=(PackUnavailableError,))
    seeds = _guarded(TaskPack.seeds, _records, allowed=BAD_SETTING)
    propose_prompt = _guarded(TaskPack.propose_prompt, _PROMPT)
    accept = _guarded(TaskPack.accept, lambda pack, kind, *rest: _answer(kind))
    resolve = _guarded(TaskPack.resolve, lambda pack, record, *rest: _answer(record.kind))
    features = _guarded(TaskPack.features, lambda pack, record, references, names: _features(names))
    answer_key = _guarded(TaskPack.answer_key, _KEY)
    structure_key = _guarded(TaskPack.structure_key, _KEY)
    difficulty = _guarded(TaskPack.difficulty, _DIFFICULTY)
    solve_prompt = _guarded(TaskPack.solve_prompt, _PROMPT)
    judge = _guarded(TaskPack.judge, lambda pack, *rest: _verdict(pack.measure_names))
    gold_response = _guarded(TaskPack.gold_response, _TEXT)
    worked_response = _guarded(TaskPack.worked_response, _TEXT)
    gold_proposal = _guarded(TaskPack.gold_proposal, _TEXT)
    sample_record = _guarded(TaskPack.sample_record, lambda pack, kind, rng: _record(kind))
    held_out = _guarded(TaskPack.held_out, _records, allowed=BAD_SETTING)
    held_out_groups = _guarded(TaskPack.held_out_groups, _GROUPS)
    task_key = _guarded(TaskPack.task_key, _TEXT)

    def _begin(
        self,
        method: str,
        expected: Expected,
        arguments: tuple[Any, ...] = (),
        options: Mapping[str, Any] = MappingProxyType({}),
        allowed: tuple[type[Exception], ...] = (),
    ) -> _Call:
        self._num_calls[method] += 1
        is_due = self._num_calls[method] % self._repeat_every == 0
        copies = copy.deepcopy(arguments) if is_due else None
        return _Call(method, expected, arguments, options, allowed, copies)

    def _call(self, call: _Call) -> Any:
        """Call a method or read a property, twice where it is due, and check what comes back."""

        def once(given: tuple[Any, ...]) -> Any:
            with self._named(call), self._watched(call):
                member = getattr(self._pack, call.method)
                is_property = isinstance(getattr(TaskPack, call.method), property)
                return member if is_property else member(*given, **call.options)

        result = once(call.arguments)
        self._check(call, result)
        if call.copies is not None:
            self._compare(call, result, once(call.copies))
        return result

    async def _call_async(self, call: _Call) -> Any:
        """`_call` for a coroutine, with a deadline."""

        async def once() -> Any:
            with self._named(call):
                started = getattr(self._pack, call.method)(*call.arguments, **call.options)
                if not isinstance(started, Coroutine):
                    raise TypeError(f"{call.method} must be `async def`; it returned {short(started)}")
                deadline = asyncio.timeout(self._deadline_s)
                try:
                    async with deadline:
                        return await _step_by_step(started, partial(self._watched, call))
                except TimeoutError:
                    if not deadline.expired():
                        raise
                    raise self._late(call) from None

        result = await once()
        self._check(call, result)
        if call.copies is not None and self.checks_repeat:
            self._compare(call, result, await once())
        return result

    @contextmanager
    def _named(self, call: _Call) -> Iterator[None]:
        """Give a name to whatever is raised inside, but for what the contract allows."""
        passing: tuple[type[Exception], ...] = (CheckBrokenError, *call.allowed)
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
            self._raise(self._error(call, f"raised {short_error(error)}"), error)

    def _check(self, call: _Call, result: object) -> None:
        """Check what a call returned, and if it is made twice, that it left its arguments alone."""
        if fault := call.expected.fault(result):
            self._raise(self._error(call, f"returned {fault}"))
        for was, found in zip(call.copies or (), call.arguments if call.copies else (), strict=True):
            # A generator is there to be drawn from.
            if not isinstance(found, random.Random) and found != was:
                both = f"{short(was)} and then {short(found)}"
                self._raise(self._error(call, f"must leave its arguments as they are; one was {both}"))

    def _compare(self, call: _Call, first: object, second: object) -> None:
        if first != second:
            both = f"{short(first)} and then {short(second)}"
            fault = f"must return the same for the same arguments; it returned {both}"
            self._raise(self._error(call, fault))

    def _watched(self, call: _Call) -> AbstractContextManager[None]:
        return nullcontext() if self._watch is None else self._watch(partial(self._late, call))

    def _late(self, call: _Call) -> PackError:
        return self._error(call, f"did not return within {self._deadline_s:g} s")

    def _error(self, call: _Call, fault: str) -> PackError:
        return PackError(f"pack {self.name}: {call} {fault}")

    def _raise(self, error: PackError, cause: BaseException | None = None) -> NoReturn:
        if self._report is not None:
            self._report(error)
        raise error from cause


class ThreadWatch:
    """A watch that reports from a thread of its own, since the one that runs the pack does not come back.

    In each thread there is one call under way at any moment.

    Args:
        deadline_s: Seconds after which it reports.
        report: Called once, in the other thread.
    """

    def __init__(self, deadline_s: float, report: Callable[[PackError], None]) -> None:
        self._deadline_s = deadline_s
        self._report = report
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
                    self._report(late())
                    return


def _is_being_cancelled() -> bool:
    """Whether somebody asked for the end of the task that runs, where one does."""
    try:
        task = asyncio.current_task()
    except RuntimeError:  # no event loop in this thread
        return False
    return task is not None and task.cancelling() > 0


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
