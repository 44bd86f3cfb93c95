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
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

from tasks.check.leaks import find_leak
from tasks.contract import Accepted, KindSpec, Outcome, Rejected, TaskPack, TaskRecord, Verdict
from tasks.guard import GuardedPack, PackError, short, short_error
from tasks.kit.parsing import up_to_stop

Build = Callable[[], TaskPack]
Check = Callable[[Build], None]

DEADLINE_S = 30.0  # of one call; in a run it may wait for a sandbox, here nobody else asks
NUM_SAMPLES = 20  # records of every kind that a check looks at
NUM_AT_LEVEL = 3  # the same of every level
NUM_SHOWN = 10  # of so many of them a check that runs each several times takes one
# What importing a pack must not bring along: it is imported before verl may be, and in every process.
STACK = ("torch", "verl", "ray", "vllm", "recipe", "rewards")
BLANK = ("", " ", "\n", "\t \n\n")  # responses that say nothing, whatever the domain

GARBAGE = (
    "no such answer", "\x00", "\ud800", "\u202e\u2028", "{{{", "}" * 20_000, "(" * 20_000, "\\" * 3, "%s{0}",
    "```python", "</answer>", "<answer></answer>", "\N{ARABIC-INDIC DIGIT FIVE}", "\N{SUPERSCRIPT TWO}",
    "-" * 300, "9" * 20_000, "nan nan", " " * 100_000 + "x", "x\n" * 50_000, "\r\n\x1b[2J",
)  # fmt: skip
"""Responses that no grammar takes for a task or for a right answer."""


class ConformanceError(AssertionError):
    """A pack does not do what the recipe counts on; one line says what, where, and with which arguments."""


class Examined(GuardedPack):
    """A pack of which every call is checked, made twice and timed, and what the checks ask of it."""

    def __init__(self, build: Build) -> None:
        super().__init__(build(), DEADLINE_S, watch=_alarm, repeat_every=1)

    def require(self, holds: object, fault: str) -> None:
        """Raise `ConformanceError` with these words, unless it holds."""
        if not holds:
            raise ConformanceError(f"pack {self.name}: {fault}")

    def samples(self) -> list[TaskRecord]:
        """Some records of every kind, the same ones each time."""
        rng = random.Random(0)
        return [self.sample_record(spec.name, rng) for spec in self.kinds for _ in range(NUM_SAMPLES)]

    def draws(self) -> list[TaskRecord]:
        """What the pack draws: the samples, tasks of every level, and those of the warm-up; each once."""
        records = self.samples()
        # By default the warm-up's are these samples again.
        solved, proposed, levelled = (random.Random(0) for _ in range(3))
        for spec in self.kinds:
            references = proposal_references(self, spec)
            for _ in range(NUM_SAMPLES):
                records.append(self.warmup_task(spec.name, solved))
                records.append(self.warmup_proposal(spec.name, references, proposed))
            for level in self.levels(spec.name):
                records += [self.sample_at(spec.name, level, levelled) for _ in range(NUM_AT_LEVEL)]
        return list({record.to_json(): record for record in records}.values())

    def accepts(self, kind: str, response: str) -> Accepted | Rejected:
        """What `accept` says of a proposal without references."""
        return asyncio.run(self.accept(kind, response, []))

    def judges(self, record: TaskRecord, response: str) -> Verdict:
        """What `judge` says."""
        return asyncio.run(self.judge(record, response))

    def asks(self, spec: KindSpec, references: Sequence[TaskRecord]) -> str:
        """The proposer's prompt with these references."""
        return self.propose_prompt(spec.name, references, random.Random(3))[-1]["content"]


def check_kinds(build: Build) -> None:
    """Kinds are legal, and those shown as references exist and have seeds."""
    pack = Examined(build)
    with_seeds = {record.kind for record in pack.seeds()}
    for spec in pack.kinds:
        for kind in spec.reference_kinds if spec.num_references else ():
            pack.require(kind in with_seeds, f"seeds() has none of kind {kind}, a reference of {spec.name}")


def check_unknown_kind(build: Build) -> None:
    """A kind that does not exist is refused in words that name those that do."""
    pack = Examined(build)
    refusal: BaseException | None = None
    try:
        pack.sample_record("no-such-kind", random.Random(0))
    except PackError as error:
        refusal = error.__cause__
    named = isinstance(refusal, ValueError) and any(spec.name in str(refusal) for spec in pack.kinds)
    fault = "must raise ValueError with the kinds there are; call self.spec"
    pack.require(named, f"sample_record('no-such-kind', rng) {fault}")


def check_seeds(build: Build) -> None:
    """Seeds are tasks, unlike each other, and not held out."""
    pack = Examined(build)
    keys = Counter(pack.task_key(record) for record in pack.seeds())
    pack.require(keys, "seeds() is empty")
    twice = [key for key, count in keys.items() if count > 1]
    pack.require(not twice, f"seeds() holds a task twice: {twice[:1]}")
    both = [record for record in pack.held_out() if pack.task_key(record) in keys]
    pack.require(not both, f"held_out() holds a seed: {short(both[:1])}")


def check_gold(build: Build) -> None:
    """Records survive a checkpoint, and gold and worked responses solve them."""
    pack = Examined(build)
    for record in [*pack.seeds(), *pack.draws()]:
        back = TaskRecord(record.kind, json.loads(json.dumps(dict(record.payload))))
        for fact in (pack.task_key, pack.difficulty):
            fault = f"{fact.__name__}({short(record)}) is another after the record went to JSON"
            pack.require(fact(back) == fact(record), fault)
        for method in (pack.gold_response, pack.worked_response):
            response = method(back)
            found = pack.judges(back, response)
            said = f"judge({short(back)}, {short(response)}) is {found.outcome} ({found.reason})"
            solves = found.outcome is Outcome.CORRECT
            pack.require(solves, f"{said}; {method.__name__} must solve its record")


def check_gold_proposals(build: Build) -> None:
    """A record's gold proposal is accepted as that same task."""
    pack = Examined(build)
    for record in [*pack.seeds(), *pack.draws()]:
        response = pack.gold_proposal(record)
        found = pack.accepts(record.kind, response)
        call = f"accept({record.kind!r}, {short(response)}, [])"
        pack.require(isinstance(found, Accepted), f"{call} refuses a gold proposal: {short(found)}")
        assert isinstance(found, Accepted)
        same = pack.task_key(found.record) == pack.task_key(record)
        pack.require(same, f"{call} makes another task of it: {short(found.record)}")


def check_levels(build: Build) -> None:
    """Where a pack has levels it draws unlike tasks of each, and refuses any other level in its words.

    That a task has the difficulty it was drawn for is the guard's to see.
    """
    pack = Examined(build)
    for spec in pack.kinds:
        for level in pack.levels(spec.name):
            rng = random.Random(4)
            keys = {pack.task_key(pack.sample_at(spec.name, level, rng)) for _ in range(NUM_SAMPLES)}
            call = f"sample_at({spec.name!r}, {level!r}, rng)"
            pack.require(len(keys) > 1, f"{call} draws one task and no other")
        refusal: BaseException | None = None
        try:
            pack.sample_at(spec.name, "no-such-level", random.Random(0))
        except PackError as error:
            refusal = error.__cause__
        fault = f"sample_at({spec.name!r}, 'no-such-level', rng) must raise ValueError"
        pack.require(isinstance(refusal, ValueError), fault)


def check_stop_strings(build: Build) -> None:
    """A gold text that ends with its first stop string is still right, and so it is with a turn behind it."""
    pack = Examined(build)
    if not pack.stop_strings:
        return
    records = [*pack.seeds(), *pack.samples()[::NUM_SHOWN]]
    for record, other in zip(records, records[1:] + records[:1], strict=True):
        turn = f"\n{pack.solve_prompt(other)[-1]['content']}\n{pack.gold_response(other)}"
        for method in (pack.gold_response, pack.worked_response, pack.gold_proposal):
            # A text without a stop string is one that a model would have ended with the first.
            ended = up_to_stop(f"{method(record)}{pack.stop_strings[0]}", pack.stop_strings)
            for response in (ended, ended + turn):
                found: Accepted | Rejected | Verdict
                if method == pack.gold_proposal:
                    found = pack.accepts(record.kind, response)
                else:
                    found = pack.judges(record, response)
                right = isinstance(found, Accepted) or found.outcome is Outcome.CORRECT
                call = f"{method.__name__}({short(record)}) with an end: {short(response)}"
                pack.require(right, f"{call} is {short(found)}")


def check_examples(build: Build) -> None:
    """A proposer's prompt shows its references, in a form that `accept` parses.

    Their gold proposals are accepted (`check_gold_proposals`), so a line of one must stand in the prompt, and
    not by chance: it does not stand in the prompt with other references. There is a prompt without any too.
    """
    pack = Examined(build)
    for spec in (spec for spec in pack.kinds if spec.num_references):
        pack.asks(spec, [])
        rng = random.Random(2)
        num_shown, example = 0, ""
        for _ in range(NUM_SAMPLES):
            shown, other = (pack.sample_record(rng.choice(spec.reference_kinds), rng) for _ in range(2))
            prompt, control = (pack.asks(spec, [record]) for record in (shown, other))
            example = pack.gold_proposal(shown)
            lines = [line.strip() for line in example.splitlines() if line.strip()]
            num_shown += any(line in prompt and line not in control for line in lines)
        pack.require(
            num_shown >= NUM_SAMPLES / 2,
            f"propose_prompt({spec.name!r}, [reference]) does not show the reference as accept parses it: "
            f"no line of {short(example)} stands in it",
        )


def check_no_leak(build: Build) -> None:
    """The solver's prompt does not give the answer away (`tasks/check/leaks.py`)."""
    pack = Examined(build)
    for spec in pack.kinds:
        rng = random.Random(1)
        records = [pack.sample_record(spec.name, rng) for _ in range(100)]
        prompts = [pack.solve_prompt(record)[-1]["content"] for record in records]
        leak = find_leak(prompts, [pack.gold_response(record) for record in records])
        pack.require(not leak, f"solve_prompt of kind {spec.name} gives the answer away: {leak}")


def check_garbage(build: Build) -> None:
    """Whatever a model writes gets an outcome: blank is malformed, and garbage is no task and no answer."""
    pack = Examined(build)
    for record in {seed.kind: seed for seed in pack.seeds()}.values():
        for response in (*BLANK, *GARBAGE):
            found = pack.accepts(record.kind, response)
            outcomes = {
                f"judge({short(record)}, {short(response)})": pack.judges(record, response).outcome,
                f"accept({record.kind!r}, {short(response)}, [])": (
                    found.outcome if isinstance(found, Rejected) else Outcome.CORRECT
                ),
            }
            refusals = [Outcome.MALFORMED] if response in BLANK else [Outcome.MALFORMED, Outcome.WRONG]
            for call, outcome in outcomes.items():
                pack.require(outcome in refusals, f"{call} is {outcome}; it must be {' or '.join(refusals)}")


def check_resolving(build: Build) -> None:
    """Where attempts resolve a task: right ones make it whole, in any order; blank ones do not."""
    pack = Examined(build)
    if not pack.resolves:
        return
    records = pack.samples()
    for i, drawn in enumerate(records):
        proposed = pack.accepts(drawn.kind, pack.gold_proposal(drawn))
        if not isinstance(proposed, Accepted):
            continue  # check_gold_proposals says so
        record = proposed.record
        gold, other = (pack.gold_response(one) for one in (drawn, records[i - 1]))

        def resolved(responses: Sequence[str], record: TaskRecord = record) -> Accepted | Rejected:
            return asyncio.run(pack.resolve(record, responses))

        call = f"resolve({short(record)}, [gold response] * 3)"
        whole = resolved([gold] * 3)
        pack.require(isinstance(whole, Accepted), f"{call} refuses the task: {short(whole)}")
        assert isinstance(whole, Accepted)
        outcome = pack.judges(whole.record, gold).outcome
        fault = f"makes a task of which judge calls that response {outcome}"
        pack.require(outcome is Outcome.CORRECT, f"{call} {fault}")
        for fact in (pack.task_key, pack.solve_prompt):
            same = fact(whole.record) == fact(record)
            pack.require(same, f"{call} makes a task whose {fact.__name__} is another")
        for blank in ((), BLANK):
            call = f"resolve({short(record)}, {short(blank)})"
            pack.require(isinstance(resolved(blank), Rejected), f"{call} accepts")
        mixed = [gold, gold, other, *BLANK]
        fault = f"resolve({short(record)}, responses) depends on the order of the responses"
        pack.require(resolved(mixed) == resolved(mixed[::-1]), fault)


def check_measures(build: Build) -> None:
    """Attempts are measured by every name in `measure_names`; by others the guard lets none."""
    pack = Examined(build)
    missing = set(pack.measure_names)
    records = pack.samples()
    for i, record in enumerate(records):
        for other in (record, records[i - 1]):
            missing -= set(pack.judges(record, pack.gold_response(other)).measures)
    names = ", ".join(sorted(missing))
    pack.require(not missing, f"judge never measures {names}, which measure_names has")


def check_repeatable(build: Build) -> None:
    """Two instances say the same to the same arguments, and draws depend on the generator alone."""
    pack, again = Examined(build), Examined(build)
    records = pack.samples()
    pack.require(records == again.samples(), "sample_record(kind, rng) depends on more than its arguments")
    for spec in pack.kinds:
        keys = {pack.task_key(record) for record in records if record.kind == spec.name}
        pack.require(len(keys) > 1, f"sample_record({spec.name!r}, rng) draws one task and no other")
        references = proposal_references(pack, spec)
        same = pack.asks(spec, references) == again.asks(spec, references)
        call = f"propose_prompt({spec.name!r}, {short(references)}, rng)"
        pack.require(same, f"{call} differs by instance")
    for record in records:
        same = pack.solve_prompt(record) == again.solve_prompt(record)
        pack.require(same, f"solve_prompt({short(record)}) differs by instance")


def check_held_out(build: Build) -> None:
    """There is an evaluation set, of distinct tasks that can be solved."""
    pack = Examined(build)
    records = pack.held_out()
    pack.require(records, "held_out() is empty")
    num_distinct = len({pack.task_key(record) for record in records})
    pack.require(num_distinct == len(records), "held_out() holds a task twice")
    for record in records[:: max(1, len(records) // NUM_SAMPLES)]:
        outcome = pack.judges(record, pack.gold_response(record)).outcome
        fault = f"held_out() holds {short(record)}, whose gold response is {outcome}"
        pack.require(outcome is Outcome.CORRECT, fault)


def check_pickles(build: Build) -> None:
    """The pack comes back from a pickle and draws what it drew."""
    pack, built = Examined(build), build()
    try:
        back: TaskPack = pickle.loads(pickle.dumps(built))
    except (pickle.PicklingError, TypeError, AttributeError) as error:
        raise ConformanceError(f"pack {pack.name}: it must pickle; {short_error(error)}") from error
    again = Examined(lambda: back)
    same = again.kinds == pack.kinds and again.samples() == pack.samples()
    pack.require(same, "it comes back from a pickle as another pack")


def check_imports(build: Build) -> None:
    """Importing the pack loads no training stack; tried in a fresh interpreter."""
    pack, module = Examined(build), type(build()).__module__
    # What the site's start-up files import is no fault of the pack.
    program = (
        f"import sys; before = set(sys.modules); sys.path[:] = {sys.path!r}; __import__({module!r}); "
        f"print(*[module for module in {STACK!r} if module in set(sys.modules) - before])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    pack.require(done.returncode == 0, f"import {module} fails alone: {short(done.stderr[-300:])}")
    loaded = ", ".join(done.stdout.split())
    pack.require(not loaded, f"import {module} must load no training stack; it loads {loaded}")


CHECKS: Sequence[Check] = (
    check_imports,
    check_kinds,
    check_unknown_kind,
    check_seeds,
    check_gold,
    check_gold_proposals,
    check_levels,
    check_stop_strings,
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
