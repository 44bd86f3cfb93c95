"""What the recipe counts on, as checks that run over any pack: `python -m tasks.check`, and the pack's tests.

Each check takes a function that builds the pack. It raises `ConformanceError`, or the guard's `PackError`:
every call goes through `tasks/guard.py`, and is made twice.
"""

from __future__ import annotations

import asyncio
import json
import pickle
import random
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Any, TypeVar

from tasks.check.leaks import find_leak
from tasks.contract import Accepted, KindSpec, Outcome, Rejected, TaskPack, TaskRecord
from tasks.guard import GuardedPack, PackError, short

Build = Callable[[], TaskPack]
Check = Callable[[Build], None]
Result = TypeVar("Result")

DEADLINE_S = 30.0
"""Seconds that one call may take here. In a run it may wait for a sandbox; here nobody else asks."""

NUM_SAMPLES = 20
"""Records of every kind that a check looks at."""

STACK = ("torch", "verl", "ray", "vllm", "recipe", "rewards")
"""What importing a pack must not bring along: it is imported before verl may be, and in every process."""


BLANK = ("", " ", "\n", "\t \n\n")
"""Responses that say nothing, whatever the domain."""

GARBAGE = (
    "no such answer", "\x00", "\ud800", "\u202e\u2028", "{{{", "}" * 20_000, "(" * 20_000, "\\" * 3, "%s{0}",
    "```python", "</answer>", "<answer></answer>", "\N{ARABIC-INDIC DIGIT FIVE}", "\N{SUPERSCRIPT TWO}",
    "-" * 300, "9" * 20_000, "nan nan", " " * 100_000 + "x", "x\n" * 50_000, "\r\n\x1b[2J",
)  # fmt: skip
"""Responses that no grammar takes for a task or for a right answer."""


class ConformanceError(AssertionError):
    """A pack does not do what the recipe counts on; one line says what, where, and with which arguments."""


def check_kinds(build: Build) -> None:
    """Kinds are legal, and those shown as references exist and have seeds."""
    pack = guarded(build)
    kinds = {spec.name for spec in pack.kinds}
    with_seeds = {record.kind for record in pack.seeds()}
    for spec in pack.kinds:
        for kind in spec.reference_kinds if spec.num_references else ():
            _require(kind in kinds, pack, f"kinds: {spec.name} refers to {kind!r}, which is no kind")
            _require(kind in with_seeds, pack, f"seeds() has none of kind {kind}, a reference of {spec.name}")


def check_unknown_kind(build: Build) -> None:
    """A kind that does not exist is refused in words that name those that do."""
    pack = guarded(build)
    refusal: BaseException | None = None
    try:
        pack.sample_record("no-such-kind", random.Random(0))
    except PackError as error:
        refusal = error.__cause__
    named = isinstance(refusal, ValueError) and any(spec.name in str(refusal) for spec in pack.kinds)
    fault = (
        "sample_record('no-such-kind', rng) must raise ValueError with the kinds there are; call self.spec"
    )
    _require(named, pack, fault)


def check_seeds(build: Build) -> None:
    """Seeds are tasks, unlike each other, and not held out."""
    pack = guarded(build)
    keys = Counter(pack.task_key(record) for record in pack.seeds())
    _require(len(keys) > 0, pack, "seeds() is empty")
    twice = [key for key, count in keys.items() if count > 1]
    _require(not twice, pack, f"seeds() holds a task twice: {twice[:1]}")
    both = [record for record in pack.held_out() if pack.task_key(record) in keys]
    _require(not both, pack, f"held_out() holds a seed: {short(both[:1])}")


def check_gold(build: Build) -> None:
    """Records survive a checkpoint, and gold and worked responses solve them."""
    pack = guarded(build)
    for record in _all_records(pack):
        back = TaskRecord(record.kind, json.loads(json.dumps(dict(record.payload))))
        for fact in (pack.task_key, pack.difficulty):
            same = fact(back) == fact(record)
            _require(same, pack, f"{fact.__name__}({short(record)}) is another after the record went to JSON")
        for method in (pack.gold_response, pack.worked_response):
            response = method(back)
            found = _run(pack.judge(back, response))
            _require(
                found.outcome is Outcome.CORRECT,
                pack,
                f"judge({short(back)}, {short(response)}) is {found.outcome} ({found.reason}); "
                f"{method.__name__} must solve its record",
            )


def check_gold_proposals(build: Build) -> None:
    """A record's gold proposal is accepted as that same task."""
    pack = guarded(build)
    for record in _all_records(pack):
        response = pack.gold_proposal(record)
        found = _run(pack.accept(record.kind, response, []))
        call = f"accept({record.kind!r}, {short(response)}, [])"
        _require(isinstance(found, Accepted), pack, f"{call} refuses a gold proposal: {short(found)}")
        assert isinstance(found, Accepted)
        same = pack.task_key(found.record) == pack.task_key(record)
        _require(same, pack, f"{call} makes another task of it: {short(found.record)}")


def check_examples(build: Build) -> None:
    """A proposer's prompt shows its references, in a form that `accept` parses.

    Their gold proposals are accepted (`check_gold_proposals`), so a line of one must stand in the prompt, and
    not by chance: it does not stand in the prompt with other references.
    """
    pack = guarded(build)
    for spec in pack.kinds:
        if not spec.num_references:
            continue
        rng = random.Random(2)
        num_shown, example = 0, ""
        for _ in range(NUM_SAMPLES):
            shown, other = (pack.sample_record(rng.choice(spec.reference_kinds), rng) for _ in range(2))
            prompt, control = (_proposer_prompt(pack, spec, [record]) for record in (shown, other))
            example = pack.gold_proposal(shown)
            lines = [line.strip() for line in example.splitlines() if line.strip()]
            num_shown += any(line in prompt and line not in control for line in lines)
        _require(
            num_shown >= NUM_SAMPLES / 2,
            pack,
            f"propose_prompt({spec.name!r}, [reference]) does not show the reference as accept parses it: "
            f"no line of {short(example)} stands in it",
        )


def check_no_leak(build: Build) -> None:
    """The solver's prompt does not give the answer away (`tasks/check/leaks.py`)."""
    pack = guarded(build)
    for spec in pack.kinds:
        rng = random.Random(1)
        records = [pack.sample_record(spec.name, rng) for _ in range(100)]
        prompts = [pack.solve_prompt(record)[-1]["content"] for record in records]
        leak = find_leak(prompts, [pack.gold_response(record) for record in records])
        _require(not leak, pack, f"solve_prompt of kind {spec.name} gives the answer away: {leak}")


def check_garbage(build: Build) -> None:
    """Whatever a model writes gets an outcome: blank is malformed, and garbage is no task and no answer."""
    pack = guarded(build)
    for record in {seed.kind: seed for seed in pack.seeds()}.values():
        for response in (*BLANK, *GARBAGE):
            wanted = "malformed" if response in BLANK else "malformed or wrong"
            refused = (Outcome.MALFORMED,) if response in BLANK else (Outcome.MALFORMED, Outcome.WRONG)
            outcome = _run(pack.judge(record, response)).outcome
            call = f"judge({short(record)}, {short(response)})"
            _require(outcome in refused, pack, f"{call} is {outcome}; it must be {wanted}")
            found = _run(pack.accept(record.kind, response, []))
            call = f"accept({record.kind!r}, {short(response)}, [])"
            outcome = found.outcome if isinstance(found, Rejected) else Outcome.CORRECT
            _require(outcome in refused, pack, f"{call} is {outcome}; it must be {wanted}")


def check_resolving(build: Build) -> None:
    """Where attempts resolve a task: right ones make it whole, in any order; blank ones do not."""
    pack = guarded(build)
    if not pack.resolves:
        return
    records = _samples(pack)
    for i, record in enumerate(records):
        found = _run(pack.accept(record.kind, pack.gold_proposal(record), []))
        if not isinstance(found, Accepted):
            continue  # check_gold_proposals says so
        gold, other = (pack.gold_response(one) for one in (record, records[i - 1]))
        call = f"resolve({short(found.record)}, [gold response] * 3)"
        resolved = _run(pack.resolve(found.record, [gold] * 3))
        _require(isinstance(resolved, Accepted), pack, f"{call} refuses the task: {short(resolved)}")
        assert isinstance(resolved, Accepted)
        verdict = _run(pack.judge(resolved.record, gold))
        right = verdict.outcome is Outcome.CORRECT
        _require(right, pack, f"{call} makes a task of which judge calls that response {verdict.outcome}")
        for fact in (pack.task_key, pack.solve_prompt):
            same = fact(resolved.record) == fact(found.record)
            _require(same, pack, f"{call} makes a task whose {fact.__name__} is another")
        for blank in (BLANK[:0], BLANK):
            call = f"resolve({short(found.record)}, {short(blank)})"
            _require(isinstance(_run(pack.resolve(found.record, blank)), Rejected), pack, f"{call} accepts")
        mixed = [gold, gold, other, *BLANK]
        orders = [_run(pack.resolve(found.record, order)) for order in (mixed, mixed[::-1])]
        call = f"resolve({short(found.record)}, responses)"
        _require(orders[0] == orders[1], pack, f"{call} depends on the order of the responses")


def check_measures(build: Build) -> None:
    """Attempts are measured by every name in `measure_names`; by others the guard lets none."""
    pack = guarded(build)
    found: set[str] = set()
    records = _samples(pack)
    for i, record in enumerate(records):
        for other in (record, records[i - 1]):
            found |= set(_run(pack.judge(record, pack.gold_response(other))).measures)
    missing = sorted(set(pack.measure_names) - found)
    _require(not missing, pack, f"judge never measures {', '.join(missing)}, which measure_names has")


def check_repeatable(build: Build) -> None:
    """Two instances say the same to the same arguments, and draws depend on the generator alone."""
    pack, again = guarded(build), guarded(build)
    records = _samples(pack)
    _require(records == _samples(again), pack, "sample_record(kind, rng) depends on more than its arguments")
    for spec in pack.kinds:
        keys = {pack.task_key(record) for record in records if record.kind == spec.name}
        _require(len(keys) > 1, pack, f"sample_record({spec.name!r}, rng) draws one task and no other")
    for record in records:
        call = f"solve_prompt({short(record)})"
        _require(pack.solve_prompt(record) == again.solve_prompt(record), pack, f"{call} differs by instance")
    for spec in pack.kinds:
        references = proposal_references(pack, spec)
        prompts = [_proposer_prompt(p, spec, references) for p in (pack, again)]
        call = f"propose_prompt({spec.name!r}, {short(references)}, rng)"
        _require(prompts[0] == prompts[1], pack, f"{call} differs by instance")


def check_held_out(build: Build) -> None:
    """There is an evaluation set, of distinct tasks that can be solved."""
    pack = guarded(build)
    records = pack.held_out()
    _require(len(records) > 0, pack, "held_out() is empty")
    _require(
        len({pack.task_key(record) for record in records}) == len(records),
        pack,
        "held_out() holds a task twice",
    )
    for record in records[:: max(1, len(records) // NUM_SAMPLES)]:
        found = _run(pack.judge(record, pack.gold_response(record)))
        right = found.outcome is Outcome.CORRECT
        _require(right, pack, f"held_out() holds {short(record)}, whose gold response is {found.outcome}")


def check_pickles(build: Build) -> None:
    """The pack comes back from a pickle and draws what it drew."""
    pack = build()
    try:
        back: TaskPack = pickle.loads(pickle.dumps(pack))
    except (pickle.PicklingError, TypeError, AttributeError) as error:
        raise _error(pack, f"it must pickle; {type(error).__name__}: {error}") from error
    again = guarded(lambda: back)
    same = again.kinds == pack.kinds and _samples(again) == _samples(guarded(build))
    _require(same, pack, "it comes back from a pickle as another pack")


def check_imports(build: Build) -> None:
    """Importing the pack loads no training stack; tried in a fresh interpreter."""
    pack = build()
    # What the site's start-up files import is no fault of the pack.
    program = (
        f"import sys; before = set(sys.modules); sys.path[:] = {sys.path!r}; "
        f"__import__({type(pack).__module__!r}); "
        f"print(*[module for module in {STACK!r} if module in set(sys.modules) - before])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    module = type(pack).__module__
    _require(done.returncode == 0, pack, f"import {module} fails alone: {short(done.stderr[-300:])}")
    loaded = done.stdout.split()
    _require(not loaded, pack, f"import {module} must load no training stack; it loads {', '.join(loaded)}")


CHECKS: Sequence[Check] = (
    check_imports,
    check_kinds,
    check_unknown_kind,
    check_seeds,
    check_gold,
    check_gold_proposals,
    check_examples,
    check_no_leak,
    check_garbage,
    check_resolving,
    check_measures,
    check_repeatable,
    check_held_out,
    check_pickles,
)
"""All of it, the cheap and telling ones first."""


def guarded(build: Build) -> GuardedPack:
    """Build the pack and guard it, so that every call is checked, made twice, and timed."""
    return GuardedPack(build(), DEADLINE_S, watch=_alarm, repeat_every=1)


def proposal_references(pack: TaskPack, spec: KindSpec) -> list[TaskRecord]:
    """Seeds to show in a prompt: as many as the kind asks for, if there are as many."""
    return [record for record in pack.seeds() if record.kind in spec.reference_kinds][: spec.num_references]


@contextmanager
def _alarm(late: Callable[[], PackError]) -> Iterator[None]:
    """Break into code that does not come back; in the main thread, which alone gets signals."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def ring(number: int, frame: FrameType | None) -> None:
        raise late()

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, DEADLINE_S)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _run(coroutine: Coroutine[Any, Any, Result]) -> Result:
    return asyncio.run(coroutine)


def _samples(pack: TaskPack) -> list[TaskRecord]:
    """Some records of every kind, the same ones each time."""
    rng = random.Random(0)
    return [pack.sample_record(spec.name, rng) for spec in pack.kinds for _ in range(NUM_SAMPLES)]


def _all_records(pack: TaskPack) -> list[TaskRecord]:
    return [*pack.seeds(), *_samples(pack)]


def _proposer_prompt(pack: TaskPack, spec: KindSpec, references: Sequence[TaskRecord]) -> str:
    return pack.propose_prompt(spec.name, references, random.Random(3))[-1]["content"]


def _error(pack: TaskPack, fault: str) -> ConformanceError:
    return ConformanceError(f"pack {pack.name}: {fault}")


def _require(holds: bool, pack: TaskPack, fault: str) -> None:
    if not holds:
        raise _error(pack, fault)
