"""`python -m tasks.check` passes the packs here, and refuses a pack with any planted fault by its name."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import pytest

from tasks.check import conformance
from tasks.check.__main__ import main
from tasks.check.conformance import CHECKS, ConformanceError
from tasks.check.leaks import find_leak
from tasks.guard import PackError
from tasks.registry import load_pack

HEAD = """
import asyncio, random, re, time
from tasks.arithmetic import ArithmeticPack
from tasks.contract import *

class Faulty(ArithmeticPack):
    name = "faulty"
    def held_out(self): return ArithmeticPack().held_out()
"""

FAULTS = {
    "judge-raises": (
        "async def judge(self, record, response): return Verdict(Outcome(response), '')",
        conformance.check_garbage,
        r"judge\(TaskRecord.*, ''\) raised ValueError",
    ),
    "accept-waits-for-ever": (
        "async def accept(self, kind, response, references, step=0): await asyncio.sleep(99)",
        conformance.check_gold_proposals,
        r"accept\('deduction', 'Calculate: 3 \+ 4 =', \[\], step=0\) did not return within 1 s",
    ),
    "judge-blocks": (
        "async def judge(self, record, response):\n        while True: time.sleep(0.01)",
        conformance.check_gold,
        r"judge\(.*, '7'\) did not return within 1 s",
    ),
    "prompt-blocks": (
        "def solve_prompt(self, record):\n        while True: pass",
        conformance.check_no_leak,
        r"solve_prompt\(.*\) did not return within 1 s",
    ),
    "judge-returns-a-bool": (
        "async def judge(self, record, response): return response == '7'",
        conformance.check_gold,
        "returned True; it must be a Verdict",
    ),
    "judge-is-not-async": (
        "def judge(self, record, response): return Verdict(Outcome.CORRECT, '')",
        conformance.check_gold,
        "judge must be `async def`",
    ),
    "prompt-is-no-list": (
        "def solve_prompt(self, record): return 'Solve it.'",
        conformance.check_no_leak,
        r"solve_prompt\(.*\) returned 'Solve it.'; it must be a list of messages",
    ),
    "draws-from-the-global-generator": (
        "def sample_record(self, kind, rng): return super().sample_record(kind, random)",
        conformance.check_repeatable,
        r"sample_record\('deduction', .*\) must return the same for the same arguments",
    ),
    "judge-remembers": (
        "seen = 0\n    async def judge(self, record, response):\n        Faulty.seen += 1\n"
        "        return Verdict(Outcome.CORRECT, '') if self.seen % 2 else Verdict(Outcome.WRONG, 'no')",
        conformance.check_gold,
        "must return the same for the same arguments; it returned Verdict.*and then Verdict",
    ),
    "kind-with-an-underscore": (
        "kinds = property(lambda self: (KindSpec('code_i', (), 0),))",
        conformance.check_kinds,
        r"kinds\(\) raised ContractError: KindSpec.name must be .*; got 'code_i'",
    ),
    "unknown-kind-is-taken": (
        "def sample_record(self, kind, rng): return super().sample_record('deduction', rng)",
        conformance.check_unknown_kind,
        r"sample_record\('no-such-kind', rng\) must raise ValueError with the kinds there are",
    ),
    "reference-without-a-seed": (
        "def seeds(self): return [seed for seed in super().seeds() if seed.kind != 'induction']",
        conformance.check_kinds,
        r"seeds\(\) has none of kind induction",
    ),
    "wrong-gold-response": (
        "def gold_response(self, record): return '7'",
        conformance.check_gold,
        r"judge\(.*, '7'\) is wrong \(wrong-value\); gold_response must solve its record",
    ),
    "gold-proposal-is-refused": (
        "def gold_proposal(self, record): return 'Compute ' + super().gold_proposal(record) + ' please'",
        conformance.check_gold_proposals,
        r"accept\('deduction', 'Compute Calculate: 3 \+ 4 = please', \[\]\) refuses a gold proposal",
    ),
    "example-does-not-parse": (
        "def propose_prompt(self, kind, references, rng, step=0):\n"
        "        text = super().propose_prompt(kind, references, rng)[0]['content']\n"
        "        return [{'role': 'user', 'content': text.translate(str.maketrans('+-*,', 'pmto'))}]",
        conformance.check_examples,
        r"propose_prompt\('deduction', \[reference\]\) does not show the reference as accept parses it",
    ),
    "prompt-needs-a-reference": (
        "def propose_prompt(self, kind, references, rng, step=0):\n"
        "        return [{'role': 'user', 'content': self.gold_proposal(references[0])}]",
        conformance.check_examples,
        r"propose_prompt\('deduction', \[\], .*\) raised IndexError",
    ),
    "prompt-holds-the-answer": (
        "def solve_prompt(self, record):\n        [message] = super().solve_prompt(record)\n"
        "        return [{**message, 'content': f\"({self.gold_response(record)}) {message['content']}\"}]",
        conformance.check_no_leak,
        "solve_prompt of kind deduction gives the answer away: '.*' at word 0 of",
    ),
    "prompt-tells-yes-from-no": (
        "def gold_response(self, record): return 'yes' if sum(str(record.payload).encode()) % 2 else 'no'\n"
        "    def solve_prompt(self, record):\n"
        "        size = 2 * len(str(record.payload)) + sum(str(record.payload).encode()) % 3\n"
        "        told = 'so ' * size + self.gold_response(record) + ' then' * (size % 7)\n"
        "        return [{'role': 'user', 'content': told}]",
        conformance.check_no_leak,
        "solve_prompt of kind deduction gives the answer away: '(yes|no)' anywhere of",
    ),
    "alters-its-references": (
        "def propose_prompt(self, kind, references, rng, step=0):\n"
        "        prompt = super().propose_prompt(kind, references, rng)\n"
        "        references.clear()\n"
        "        return prompt",
        conformance.check_repeatable,
        r"propose_prompt\('deduction', .*\) must leave its arguments as they are; one was \[TaskRecord",
    ),
    "alters-its-record": (
        "async def judge(self, record, response):\n        record.payload['seen'] = True\n"
        "        return await super().judge(record, response)",
        conformance.check_gold,
        r"judge\(.*\) must leave its arguments as they are; one was .* and then .*'seen': True",
    ),
    "blank-is-wrong": (
        "async def judge(self, record, response):\n        found = await super().judge(record, response)\n"
        "        return found if response.strip() else Verdict(Outcome.WRONG, 'blank')",
        conformance.check_garbage,
        r"judge\(.*, ''\) is wrong; it must be malformed",
    ),
    "garbage-is-a-task": (
        "async def accept(self, kind, response, references, step=0):\n"
        "        return Accepted(self.seeds()[0]) if response.strip() else Rejected(Outcome.MALFORMED, 'no')",
        conformance.check_garbage,
        r"accept\('deduction', 'no such answer', \[\]\) is correct; it must be malformed or wrong",
    ),
    "payload-that-json-changes": (
        "def sample_record(self, kind, rng): return TaskRecord(kind, {'pair': (1, 2)})",
        conformance.check_gold,
        r"sample_record\('deduction', .*\) raised ContractError: TaskRecord.payload must be .* JSON does not",
    ),
    "resolves-without-a-rule": (
        "resolves = True",
        conformance.check_resolving,
        r"resolve\(TaskRecord.*, \(\)\) accepts",
    ),
    "resolving-refuses-right-attempts": (
        "resolves = True\n"
        "    async def resolve(self, record, responses): return Rejected(Outcome.WRONG, 'no-majority')",
        conformance.check_resolving,
        r"resolve\(TaskRecord.*, \[gold response\] \* 3\) refuses the task: Rejected",
    ),
    "resolving-makes-another-task": (
        "resolves = True\n"
        "    async def resolve(self, record, responses): return Accepted(self.seeds()[0])",
        conformance.check_resolving,
        r"resolve\(TaskRecord.*\) makes a task of which judge calls that response wrong",
    ),
    "resolving-changes-the-question": (
        "resolves = True\n    async def resolve(self, record, responses):\n"
        "        return Accepted(TaskRecord(record.kind, {**record.payload, 'votes': len(responses)}))\n"
        "    def solve_prompt(self, record):\n"
        "        return [{'role': 'user', 'content': str(record.payload.get('votes', '?'))}]",
        conformance.check_resolving,
        r"resolve\(TaskRecord.*\) makes a task whose solve_prompt is another",
    ),
    "the-first-attempt-resolves": (
        "resolves = True\n    async def resolve(self, record, responses):\n"
        "        found = responses and responses[0].strip()\n"
        "        return Accepted(record) if found else Rejected(Outcome.WRONG, 'no-majority')",
        conformance.check_resolving,
        r"resolve\(TaskRecord.*, responses\) depends on the order of the responses",
    ),
    "level-that-is-never-drawn": (
        "def levels(self, kind): return ('easy', 'medium')\n"
        "    def sample_at(self, kind, level, rng): return self.seeds()[0]",
        conformance.check_levels,
        r"sample_at\('deduction', 'easy', rng\) draws one task and no other",
    ),
    "task-of-another-level": (
        "def levels(self, kind): return ('easy', 'medium')\n"
        "    def sample_at(self, kind, level, rng): return self.sample_record(kind, rng)",
        conformance.check_levels,
        r"sample_at\('deduction', 'easy', .*\) returned TaskRecord.*; it must be .* and difficulty easy",
    ),
    "level-that-does-not-exist": (
        "def levels(self, kind): return ()\n"
        "    def sample_at(self, kind, level, rng): return self.sample_record(kind, rng)\n"
        "    def difficulty(self, record): return 'no-such-level'",
        conformance.check_levels,
        r"sample_at\('deduction', 'no-such-level', rng\) must raise ValueError",
    ),
    "levels-beyond-the-bounds": (
        "def levels(self, kind): return ('hard',)\n    def sample_at(self, kind, level, rng):\n"
        "        drawn = TaskRecord('deduction', {'a': rng.randint(50, 99), 'op': '+', 'b': 1})\n"
        "        return drawn if kind == 'deduction' else self.sample_record(kind, rng)\n"
        "    def difficulty(self, record): return 'hard'",
        conformance.check_gold_proposals,
        r"accept\('deduction', 'Calculate: \d\d \+ 1 =', \[\]\) refuses a gold proposal",
    ),
    "warm-up-proposes-no-task": (
        "def warmup_proposal(self, kind, references, rng):\n"
        "        drawn = {**self.sample_record('deduction', rng).payload, 'a': 999}\n"
        "        return TaskRecord(kind, drawn) if kind == 'deduction' else self.sample_record(kind, rng)",
        conformance.check_gold_proposals,
        r"accept\('deduction', 'Calculate: 999 . \d+ =', \[\]\) refuses a gold proposal",
    ),
    "stop-string-is-read-as-the-answer": (
        "stop_strings = (':',)",
        conformance.check_stop_strings,
        r"gold_response\(TaskRecord.*\) with an end: '7:' is Verdict",
    ),
    "reads-what-follows-the-end": (
        "stop_strings = ('\\n',)",
        conformance.check_stop_strings,
        r"gold_response\(TaskRecord.*\) with an end: .* is Verdict",
    ),
    "measure-that-is-never-made": (
        "measure_names = ('distance', 'size')",
        conformance.check_measures,
        "judge never measures size, which measure_names has",
    ),
    "does-not-pickle": (
        "def __init__(self):\n        super().__init__()\n        self.key = lambda: 1",
        conformance.check_pickles,
        "it must pickle; ",
    ),
    "seed-is-held-out": (
        "def held_out(self): return self.seeds()",
        conformance.check_seeds,
        r"held_out\(\) holds a seed",
    ),
    "imports-the-stack": (
        "import rewards",
        conformance.check_imports,
        "import faulty_imports_the_stack must load no training stack; it loads rewards",
    ),
}  # fmt: skip
"""Name -> lines of a class that is an arithmetic pack otherwise, the check that finds them, what it says."""


@pytest.fixture
def plant(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> object:
    """Write a faulty pack as a module that can be imported; return the dotted path to its class."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def write(fault: str) -> str:
        module = f"faulty_{fault.replace('-', '_')}"
        (tmp_path / f"{module}.py").write_text(f"{HEAD}    {FAULTS[fault][0]}\n")
        monkeypatch.delitem(sys.modules, module, raising=False)
        return f"{module}.Faulty"

    return write


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_refused_by_name(fault: str, plant, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conformance, "DEADLINE_S", 1.0)
    target = plant(fault)
    _, check, said = FAULTS[fault]
    with pytest.raises((ConformanceError, PackError), match=f"^pack faulty: .*{said}") as caught:
        check(lambda: load_pack(target))
    assert "\n" not in str(caught.value)


def test_the_program_says_what_is_wrong_and_fails(plant, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([plant("wrong-gold-response")]) == 1
    printed = capsys.readouterr().out
    assert "FAULT Records survive a checkpoint" in printed
    assert "pack faulty: judge(TaskRecord(kind='deduction'" in printed
    assert printed.count("FAULT") + printed.count("ok   ") == len(CHECKS)


def test_a_pack_that_cannot_be_built_is_refused_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "unbuildable.py").write_text(
        f"{HEAD}    def __init__(self, *, size: int = 3): self.half = 1 / (size - 3)\n"
    )
    assert main(["unbuildable.Faulty", "size=3"]) == 1
    said = "FAULT pack unbuildable.Faulty: Faulty(**{'size': 3}) raised ZeroDivisionError"
    assert said in capsys.readouterr().out


def test_the_program_passes_a_sound_pack_and_shows_its_prompts(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["arithmetic", "deduction_max=99", "terse=false"]) == 0
    printed = capsys.readouterr().out
    assert printed.count("ok   ") == len(CHECKS)
    assert (
        "--- deduction: the proposer is asked\nWrite one new task in the form of these. Numbers 0 to 99"
        in printed
    )
    assert "--- induction: it answers" in printed


def test_the_program_ends_where_nobody_reads_on() -> None:
    command = [sys.executable, "-u", "-m", "tasks.check", "arithmetic"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as program:
        assert program.stdout is not None
        assert program.stderr is not None
        program.stdout.close()
        assert program.stderr.read() == b""
    assert program.returncode == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "the following arguments are required: pack\n"),
        (["no_such_pack"], "Available packs: arithmetic"),
        (["arithmetic", "maximum=3"], "pack.maximum is no knob"),
        (["arithmetic", "deduction_max"], "a knob must be KNOB=VALUE"),
        (["arithmetic", "deduction_max=many"], "pack.deduction_max must be an integer"),
    ],
)
def test_mistakes_on_the_command_line_are_explained(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert said in capsys.readouterr().err


def test_an_answer_that_is_one_of_those_named_in_every_prompt_is_no_leak() -> None:
    rng = random.Random(0)
    answers = [rng.choice(["yes", "no"]) for _ in range(100)]
    prompts = [f"Is {rng.randrange(99)} even? Answer yes or no." for _ in answers]
    assert find_leak(prompts, answers) == ""
    leaking = [f"{prompt} ({answer})" for prompt, answer in zip(prompts, answers, strict=True)]
    assert "'no' at word" in find_leak(leaking, answers)


@pytest.mark.parametrize("share", [0.2, 0.5, 0.8])
def test_answers_of_two_words_are_told_from_leaks_however_often_each_is_right(share: float) -> None:
    for seed in range(5):
        rng = random.Random(seed)
        answers = ["yes" if rng.random() < share else "no" for _ in range(100)]
        prompts = [f"Is {rng.randrange(99)} even? Answer yes or no." for _ in answers]
        assert find_leak(prompts, answers) == ""
        at_random = [f"{'so ' * rng.randrange(12)}{answer}" for answer in answers]
        assert find_leak(at_random, answers) != ""
        at_the_end = [f"{prompt} {answer}" for prompt, answer in zip(prompts, answers, strict=True)]
        assert "at word" in find_leak(at_the_end, answers)


def test_a_leak_is_found_behind_words_that_every_answer_has_and_at_any_place() -> None:
    rng = random.Random(0)
    numbers = [str(rng.randrange(10**6)) for _ in range(100)]
    answers = [f"<answer>The answer is {number}</answer>" for number in numbers]
    prompts = [f"{'so ' * rng.randrange(9)}{number}{' or' * rng.randrange(9)}" for number in numbers]
    assert "anywhere" in find_leak(prompts, answers)
    assert find_leak(prompts[1:] + prompts[:1], answers) == ""
