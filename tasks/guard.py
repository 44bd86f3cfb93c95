"""A guard around a pack, which others may have written.

Where the recipe loads a pack, it puts a `GuardedPack` around it. That one checks the type of everything that
comes back, turns whatever a method raises into one `PackError` that names the pack, the method and the
arguments, sets a deadline, and asks some calls twice. So a fault of a pack stops the run and is never priced.

Limits: a method that holds Python's global lock for ever, as one hopeless regular expression does, stops its
process without a word. `python -m tasks.check` finds that beforehand, if one of its inputs brings it about.
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
from dataclasses import dataclass, field
from functools import wraps
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

Watch = Callable[[Callable[[], "PackError"]], AbstractContextManager[None]]
"""Keeps an eye on code that may never come back; its argument makes the error to report then."""

UNLIKE = "must return the same for the same arguments; it returned"

BAD_SETTING = (ValueError, FileNotFoundError)
"""What a pack may raise about its configuration, such as a file that it names; the run has not begun then."""

Method = TypeVar("Method", bound=Callable[..., Any])

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
        return next(filter(None, map(self.each.fault, value)), "") if self.each else ""


def _spelled(pattern: str) -> Callable[[object], bool]:
    return lambda value: isinstance(value, str) and re.fullmatch(pattern, value) is not None


def _is_message(value: object) -> bool:
    parts = list(value.values()) if isinstance(value, dict) and set(value) == {"role", "content"} else [""]
    return all(isinstance(part, str) and part for part in parts)


def _are_kinds(value: object) -> bool:
    if not (isinstance(value, tuple) and value and all(isinstance(spec, KindSpec) for spec in value)):
        return False
    names = {spec.name for spec in value}
    return len(names) == len(value) and all(names.issuperset(spec.reference_kinds) for spec in value)


def _record(*kinds: str) -> Expected:
    wanted = f"a TaskRecord of kind {' or '.join(kinds)}"
    return Expected(wanted, lambda value: isinstance(value, TaskRecord) and value.kind in kinds)


def _record_at(pack: TaskPack, kind: str, level: str) -> Expected:
    wanted = f"a TaskRecord of kind {kind} and difficulty {level}"
    is_record = _record(kind).holds
    return Expected(wanted, lambda value: is_record(value) and pack.difficulty(value) == level)


def _records(pack: TaskPack) -> Expected:
    return Expected(
        "a sequence of TaskRecord",
        lambda value: isinstance(value, Sequence) and not isinstance(value, str),
        _record(*(spec.name for spec in pack.kinds)),
    )


def _answer(kind: str) -> Expected:
    def holds(value: object) -> bool:
        return value.record.kind == kind if isinstance(value, Accepted) else isinstance(value, Rejected)

    return Expected(f"Accepted or Rejected, with a record of kind {kind}", holds)


def _verdict(names: Sequence[str]) -> Expected:
    wanted = f"a Verdict with measures out of measure_names: {', '.join(names) or 'none'}"
    return Expected(wanted, lambda value: isinstance(value, Verdict) and set(value.measures) <= set(names))


def _features(names: Sequence[str]) -> Expected:
    def holds(value: Any) -> bool:
        is_asked_for = isinstance(value, Mapping) and set(value) <= set(names)
        return is_asked_for and all(map(is_number, value.values()))

    return Expected(f"a finite number for some of {', '.join(names)}, and nothing else", holds)


_NOTHING = Expected("None", lambda value: value is None)
_FLAG = Expected("True or False", lambda value: isinstance(value, bool))
_TEXT = Expected("a string", lambda value: isinstance(value, str))
_KEY = Expected("a string or None", lambda value: value is None or isinstance(value, str))
_LABEL = "lower case letters, digits and hyphens, and not"
_DIFFICULTY = Expected(f"{_LABEL} 'none'", _spelled(r"(?!none\Z)[a-z0-9-]*"))
_COUNTS = Expected(
    "a mapping of labels to integers from 1",
    lambda value: (
        isinstance(value, Mapping)
        and all(
            isinstance(count, int) and not isinstance(count, bool) and count > 0 for count in value.values()
        )
        and not any(map(_DIFFICULTY.fault, value))
    ),
)
_LEVELS = Expected(
    "a tuple of unlike labels",
    lambda value: isinstance(value, tuple) and all(value.count(level) == 1 for level in value),
    Expected("a slug such as len-3, and not 'none'", _spelled(r"(?!none\Z)[a-z0-9]+(-[a-z0-9]+)*")),
)
_NAMES = Expected("a tuple of strings", lambda value: isinstance(value, tuple), _TEXT)
_STOPS = Expected(
    "a tuple of strings",
    lambda value: isinstance(value, tuple),
    Expected("a string that is not empty", lambda value: isinstance(value, str) and value),
)
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


def _guarded(
    method: Method,
    expected: Expected | Callable[..., Expected],
    allowed: tuple[type[Exception], ...] = (CheckBrokenError,),
) -> Method:
    """A method of the contract as a `GuardedPack` has it; `expected` may be a function of pack and arguments.

    The pack's own is called with every argument that the contract has a default for: it may declare none.
    """
    signature, is_async = inspect.signature(method), inspect.iscoroutinefunction(method)

    @wraps(method, updated=())  # without the mark that makes a method abstract
    def guarded(self: GuardedPack, *arguments: Any, **options: Any) -> Any:
        bound = signature.bind(self, *arguments, **options)
        bound.apply_defaults()
        wanted = expected if isinstance(expected, Expected) else expected(*bound.args)
        call = _Call(self, method.__name__, wanted, bound.args[1:], bound.kwargs, allowed)
        return call.make_async() if is_async else call.make()

    return cast(Method, guarded)


def _guarded_property(name: str, expected: Expected) -> Any:
    return property(lambda pack: _Call(pack, name, expected).make())


class GuardedPack(TaskPack):
    """A pack that keeps its contract or raises `PackError`.

    Args:
        pack: The pack.
        deadline_s: Seconds that a call may take; it may wait in a queue for a sandbox.
        report: Called with every error before it is raised, where raising alone stops nothing.
        watch: Put around everything that runs without giving way to the event loop.
        repeat_every: Of so many calls of a method, one is made twice and has to give the same.

    Raises:
        PackError: `pack` is no pack.
    """

    def __init__(
        self,
        pack: TaskPack,
        deadline_s: float = 3600.0,
        report: Callable[[PackError], None] | None = None,
        watch: Watch | None = None,
        repeat_every: int = 64,
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

    kinds: tuple[KindSpec, ...] = _guarded_property("kinds", _KINDS)
    feature_names: tuple[str, ...] = _guarded_property("feature_names", _NAMES)
    measure_names: tuple[str, ...] = _guarded_property("measure_names", _NAMES)
    stop_strings: tuple[str, ...] = _guarded_property("stop_strings", _STOPS)
    require_available = _guarded(
        TaskPack.require_available, _NOTHING, (CheckBrokenError, PackUnavailableError)
    )
    seeds = _guarded(TaskPack.seeds, _records, (CheckBrokenError, *BAD_SETTING))
    propose_prompt = _guarded(TaskPack.propose_prompt, _PROMPT)
    accept = _guarded(TaskPack.accept, lambda pack, kind, *rest: _answer(kind))
    resolve = _guarded(TaskPack.resolve, lambda pack, record, *rest: _answer(record.kind))
    features = _guarded(TaskPack.features, lambda pack, record, references, names: _features(names))
    answer_key = _guarded(TaskPack.answer_key, _KEY)
    structure_key = _guarded(TaskPack.structure_key, _KEY)
    difficulty = _guarded(TaskPack.difficulty, _DIFFICULTY)
    num_tasks = _guarded(TaskPack.num_tasks, _COUNTS)
    levels = _guarded(TaskPack.levels, _LEVELS)
    sample_at = _guarded(TaskPack.sample_at, lambda pack, kind, level, rng: _record_at(pack, kind, level))
    solve_prompt = _guarded(TaskPack.solve_prompt, _PROMPT)
    judge = _guarded(TaskPack.judge, lambda pack, *rest: _verdict(pack.measure_names))
    gold_response = _guarded(TaskPack.gold_response, _TEXT)
    worked_response = _guarded(TaskPack.worked_response, _TEXT)
    gold_proposal = _guarded(TaskPack.gold_proposal, _TEXT)
    sample_record = _guarded(TaskPack.sample_record, lambda pack, kind, rng: _record(kind))
    warmup_task = _guarded(TaskPack.warmup_task, lambda pack, kind, rng: _record(kind))
    warmup_proposal = _guarded(TaskPack.warmup_proposal, lambda pack, kind, *rest: _record(kind))
    held_out = _guarded(TaskPack.held_out, _records, (CheckBrokenError, *BAD_SETTING))
    held_out_groups = _guarded(TaskPack.held_out_groups, _GROUPS)
    task_key = _guarded(TaskPack.task_key, _TEXT)


@dataclass
class _Call:
    """A call of a method or property of a guarded pack; as a string, how a fault of it is reported."""

    guard: GuardedPack
    method: str
    expected: Expected  # what comes back
    arguments: tuple[Any, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    allowed: tuple[type[Exception], ...] = (CheckBrokenError,)  # what it may raise
    copies: tuple[Any, ...] | None = field(default=None, init=False)  # of the arguments, if it is made twice

    def __post_init__(self) -> None:
        self.guard._num_calls[self.method] += 1
        if self.guard._num_calls[self.method] % self.guard._repeat_every == 0:
            self.copies = copy.deepcopy(self.arguments)

    def __str__(self) -> str:
        given = [short(argument) for argument in self.arguments]
        given += [f"{name}={short(value)}" for name, value in self.options.items()]
        return f"{self.method}({', '.join(given)})"

    def make(self) -> Any:
        """Call the method or read the property, twice where it is due, and check what comes back."""

        def once(arguments: tuple[Any, ...]) -> Any:
            with self._named(), self._watched():
                member = getattr(self.guard._pack, self.method)
                is_property = isinstance(getattr(TaskPack, self.method), property)
                return member if is_property else member(*arguments, **self.options)

        result = once(self.arguments)
        self._check(result)
        if self.copies is not None:
            self._compare(UNLIKE, result, once(self.copies))
        return result

    async def make_async(self) -> Any:
        """`make` for a coroutine, with a deadline."""

        async def once() -> Any:
            with self._named():
                started = getattr(self.guard._pack, self.method)(*self.arguments, **self.options)
                if not isinstance(started, Coroutine):
                    raise TypeError(f"{self.method} must be `async def`; it returned {short(started)}")
                deadline = asyncio.timeout(self.guard._deadline_s)
                try:
                    async with deadline:
                        return await _step_by_step(started, self._watched)
                except TimeoutError:
                    if not deadline.expired():
                        raise
                    raise self._late() from None

        result = await once()
        self._check(result)
        if self.copies is not None and self.guard.checks_repeat:
            self._compare(UNLIKE, result, await once())
        return result

    @contextmanager
    def _named(self) -> Iterator[None]:
        """Give a name to whatever is raised inside, but for what the contract allows."""
        try:
            yield
        except PackError as error:
            self._raise(error)
        except self.allowed as error:
            if isinstance(error, BAD_SETTING):
                raise bad_setting(self.guard.name, error) from error
            raise
        except (Exception, SystemExit, asyncio.CancelledError) as error:  # the boundary to code of others
            if isinstance(error, asyncio.CancelledError) and _is_being_cancelled():
                raise
            self._raise(self._error(f"raised {short_error(error)}"), error)

    def _check(self, result: object) -> None:
        """Check what came back, and if the call is made twice, that it left its arguments alone."""
        if fault := self.expected.fault(result):
            self._raise(self._error(f"returned {fault}"))
        for was, found in zip(self.copies or (), self.arguments, strict=False):
            if not isinstance(found, random.Random):  # a generator is there to be drawn from
                self._compare("must leave its arguments as they are; one was", was, found)

    def _compare(self, fault: str, first: object, second: object) -> None:
        if first != second:
            self._raise(self._error(f"{fault} {short(first)} and then {short(second)}"))

    def _watched(self) -> AbstractContextManager[None]:
        return self.guard._watch(self._late) if self.guard._watch else nullcontext()

    def _late(self) -> PackError:
        return self._error(f"did not return within {self.guard._deadline_s:g} s")

    def _error(self, fault: str) -> PackError:
        return PackError(f"pack {self.guard.name}: {self} {fault}")

    def _raise(self, error: PackError, cause: BaseException | None = None) -> NoReturn:
        if self.guard._report is not None:
            self.guard._report(error)
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
    coroutine: Coroutine[Any, Any, Any], watch: Callable[[], AbstractContextManager[None]]
) -> Generator[Any, Any, Any]:
    """Await a coroutine, with `watch` around each stretch in which it does not yield to the event loop.

    A watch around the whole would blame every call that waits while one of them blocks.
    """
    resume: Callable[[Any], Any] = coroutine.send
    value: Any = None
    while True:
        try:
            with watch():
                awaited = resume(value)
        except StopIteration as done:
            return done.value
        try:
            value, resume = (yield awaited), coroutine.send
        except BaseException as error:  # a cancellation goes where it was meant to go
            value, resume = error, coroutine.throw
