"""The python_code pack: tasks about programs, checked by running them in a sandbox.

The parts: a form writes prompts and reads responses, admission makes records of proposals, a grader compares
answers, and the draws make tasks where no model is asked. `docs/python_code.md` has grammar and reasons.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from pathlib import Path

from tasks.contract import Accepted, KindSpec, Message, Rejected, TaskRecord, Verdict
from tasks.execution import Runner
from tasks.kit.held_out_file import FilePack, Stratum
from tasks.kit.knobs import check_bool, check_choices, check_count, check_limits, check_sandbox
from tasks.kit.payload import read_str
from tasks.kit.program import Rules, canonical_program, is_same_program
from tasks.kit.response import Tags
from tasks.python_code import draws, grammar, rule_draws
from tasks.python_code.admission import Admission
from tasks.python_code.composite import Schedule, choose_given, define_given
from tasks.python_code.features import FEATURES
from tasks.python_code.form import Form, malformed, stored_answer
from tasks.python_code.grading import SHARE, Grader
from tasks.python_code.knobs import (
    LITERAL_CHARS,
    PROGRAM_CHARS,
    RESULT_BYTES,
    check_composite,
)
from tasks.python_code.records import (
    ABDUCTION,
    DEDUCTION,
    ERROR,
    INDUCTION,
    KINDS,
    Draft,
    read_examples,
    read_program,
)
from tasks.python_code.seeds import built_in_seed, read_seeds
from tasks.python_code.tagged import TaggedForm
from tasks.python_code.terse import TerseForm

HELD_OUT_PER_STRATUM = 45
TERSE_HELD_OUT_PER_STRATUM = 80


class PythonCodePack(FilePack):
    """Deduction, abduction, induction and, if asked for, error tasks about Python programs."""

    name = "python_code"
    held_out_version = 1
    checks_repeat = False
    held_out_seed = 20250503
    default_held_out_path = Path(__file__).with_name("held_out.jsonl")
    terse_held_out_path = Path(__file__).with_name("held_out_terse.jsonl")
    """The set that a terse pack reads by default: programs that fit in one line."""

    def __init__(
        self,
        *,
        kinds: Sequence[str] = (DEDUCTION, ABDUCTION, INDUCTION),
        num_references: int = 6,
        num_inputs: int = 10,
        tags: str = "think_answer",
        keep_comments: bool = True,
        keep_globals: bool = True,
        max_program_chars: int = 4000,
        max_literal_chars: int = 1000,
        strict_equality: bool = False,
        composite_share: float = 0.0,
        composite_max: int = 2,
        composite_from_step: int = 0,
        composite_until_step: int = 0,
        time_limit_s: float = 1.0,
        memory_mb: int = 512,
        seed_path: str | None = None,
        sandbox: Mapping[str, object] | None = None,
        terse: bool = False,
        held_out_path: str | None = None,
    ) -> None:
        """Set what is asked, how it is checked, and where it runs.

        Args:
            kinds: Kinds of task that are on, of deduction, abduction, induction and error.
            num_references: Earlier tasks in a proposer's prompt; 0 shows none. An induction proposal is about
                one earlier program in any case. A terse prompt shows one at most.
            num_inputs: Inputs of an induction task, of which half are hidden. A terse one has 6.
            tags: What a response is wrapped in: think_answer, answer or none.
            keep_comments: Keep comments and docstrings in stored programs.
            keep_globals: Keep module-level statements besides imports, functions and classes.
            max_program_chars: Longest program of a proposal.
            max_literal_chars: Longest input and output of a proposal.
            strict_equality: Tell `1`, `1.0` and `True` apart when answers are compared.
            composite_share: Share of the proposals with references that have to call some of them.
            composite_max: Most functions that such a proposal has to call.
            composite_from_step: Training step from which composites come in by and by.
            composite_until_step: Training step from which share and number are as given.
            time_limit_s: CPU seconds of an attempt; a proposal has half of it.
            memory_mb: Memory of a run.
            seed_path: A file of tasks to start from; null starts from the identity function.
            sandbox: Keys of `tasks.sandbox.SandboxConfig`; null takes its defaults.
            terse: Prompts without instructions, for a model that was trained on them.
            held_out_path: Another held-out set in place of the committed one.

        Raises:
            ValueError: A knob has a value it cannot have.
        """
        for knob, value in {
            "keep_comments": keep_comments,
            "keep_globals": keep_globals,
            "strict_equality": strict_equality,
            "terse": terse,
        }.items():
            check_bool(knob, value)
        check_count("num_references", num_references, 0, 64)
        check_count("num_inputs", num_inputs, 2, 64)
        check_count("max_program_chars", max_program_chars, *PROGRAM_CHARS)
        check_count("max_literal_chars", max_literal_chars, *LITERAL_CHARS)
        limits = check_limits(time_limit_s, memory_mb, RESULT_BYTES)
        schedule = Schedule(composite_share, composite_max, composite_from_step, composite_until_step)
        self._composites = check_composite(schedule, num_references, terse)
        if tags not in list(Tags):
            raise ValueError(f"pack.tags must be one of {', '.join(Tags)}; got {tags!r}")
        terse_set = str(self.terse_held_out_path) if terse else None
        super().__init__(terse_set if held_out_path is None else held_out_path)
        self._enabled = check_choices("kinds", kinds, KINDS)
        self._num_references = num_references
        self._seed_path = None if seed_path is None else Path(seed_path)
        self._terse = terse
        sizes = (max_program_chars, max_literal_chars)
        tagged = TaggedForm(Tags(tags), num_inputs, *sizes, time_limit_s)
        self._form: Form = TerseForm() if terse else tagged
        # A terse program is one expression: it has neither comments nor globals, and stays as it is written.
        rules = Rules(max_program_chars, keep_comments or terse, keep_globals or terse)
        self._runner = Runner(check_sandbox(sandbox or {}), limits)
        self._admission = Admission(rules, max_literal_chars, strict_equality, self._runner)
        self._grader = Grader(strict_equality, self._runner)

    def require_available(self) -> None:
        """See `TaskPack.require_available`."""
        self._runner.check()

    @property
    def kinds(self) -> tuple[KindSpec, ...]:
        """See `TaskPack.kinds`."""
        return tuple(self._spec(kind) for kind in self._enabled)

    def seeds(self) -> Sequence[TaskRecord]:
        """See `TaskPack.seeds`; kinds that the seed file has nothing for start from the built-in seed.

        Raises:
            FileNotFoundError: There is no such seed file.
            ValueError: A line of the seed file is no task.
        """
        records: list[TaskRecord] = []
        num_inputs = self._form.num_inputs
        if self._seed_path is not None:
            path, admit = self._seed_path, self._admission.admit
            records = read_seeds(path, self._enabled, num_inputs, admit, self.task_key)
        known = {record.kind for record in records}
        return [*records, *(built_in_seed(kind, num_inputs) for kind in self._enabled if kind not in known)]

    def propose_prompt(
        self, kind: str, references: Sequence[TaskRecord], rng: random.Random, *, step: int = 0
    ) -> list[Message]:
        """See `TaskPack.propose_prompt`."""
        self.spec(kind)
        if not references and (self._terse or kind == INDUCTION):
            # Terse prompts say by their reference of which kind a task is wanted.
            references = [built_in_seed(kind, self._form.num_inputs)]
        given = define_given(self._given(kind, references, step))
        return [{"role": "user", "content": self._form.request(kind, references, given)}]

    async def accept(
        self, kind: str, response: str, references: Sequence[TaskRecord], *, step: int = 0
    ) -> Accepted | Rejected:
        """See `TaskPack.accept`.

        Raises:
            SandboxBroken: The sandbox itself failed.
        """
        self.spec(kind)
        draft = self._form.read_proposal(kind, response)
        if isinstance(draft, Rejected):
            return draft
        if kind == INDUCTION and not self._terse:
            of_reference = _about_reference(draft, references)
            if isinstance(of_reference, Rejected):
                return of_reference
            draft = of_reference
        given = self._given(kind, references, step)
        record = await self._runner.in_thread(
            self._admission.admit, kind, draft, define_given(given), len(given)
        )
        return record if isinstance(record, Rejected) else Accepted(record)

    @property
    def feature_names(self) -> tuple[str, ...]:
        """See `TaskPack.feature_names`."""
        return tuple(FEATURES)

    def features(
        self, record: TaskRecord, references: Sequence[TaskRecord], names: Sequence[str]
    ) -> dict[str, float]:
        """See `TaskPack.features`."""
        return {name: FEATURES[name](record, references) for name in names}

    def answer_key(self, record: TaskRecord) -> str:
        """See `TaskPack.answer_key`; of an induction task, which asks for a program, all outputs."""
        if record.kind != INDUCTION:
            return stored_answer(record)
        shown, hidden = read_examples(record.payload)
        return "; ".join(example.output for example in [*shown, *hidden])

    @property
    def measure_names(self) -> tuple[str, ...]:
        """See `TaskPack.measure_names`."""
        return (SHARE,) if INDUCTION in self._enabled else ()

    def solve_prompt(self, record: TaskRecord) -> list[Message]:
        """See `TaskPack.solve_prompt`."""
        return [{"role": "user", "content": self._form.question(record)}]

    async def judge(self, record: TaskRecord, response: str) -> Verdict:
        """See `TaskPack.judge`.

        Raises:
            SandboxBroken: The sandbox itself failed.
        """
        answer = self._form.read_answer(record.kind, response)
        if isinstance(answer, Verdict):
            return answer
        if record.kind in (DEDUCTION, ERROR):
            # By value: nothing runs, and a thread would cost more than the comparison.
            return self._grader.grade(record, answer)
        return await self._runner.in_thread(self._grader.grade, record, answer)

    def gold_response(self, record: TaskRecord) -> str:
        """See `TaskPack.gold_response`."""
        return self._form.answer(record)

    def worked_response(self, record: TaskRecord) -> str:
        """See `TaskPack.worked_response`."""
        return self._form.worked_answer(record)

    def gold_proposal(self, record: TaskRecord) -> str:
        """See `TaskPack.gold_proposal`."""
        return self._form.proposal(record)

    def sample_record(self, kind: str, rng: random.Random) -> TaskRecord:
        """See `TaskPack.sample_record`; outputs come from the sandbox, and of terse tasks from their rules.

        Raises:
            SandboxBroken: The sandbox itself failed.
        """
        self.spec(kind)
        return self._draw(kind, rng.choice(self._domains()), rng)

    def held_out(self) -> Sequence[TaskRecord]:
        """See `TaskPack.held_out`; the tasks of the kinds that are on."""
        return [record for record in super().held_out() if record.kind in self._enabled]

    def held_out_strata(self) -> Sequence[Stratum]:
        """See `FilePack.held_out_strata`: one stratum a kind and type of input."""
        count = TERSE_HELD_OUT_PER_STRATUM if self._terse else HELD_OUT_PER_STRATUM

        def stratum(kind: str, domain: str) -> Stratum:
            return Stratum(f"{kind} {domain}", count, lambda rng: self._draw(kind, domain, rng))

        return [stratum(kind, domain) for kind in self._enabled for domain in self._domains()]

    def task_key(self, record: TaskRecord) -> str:
        """See `TaskPack.task_key`: the program without layout and comments, and what is asked of it.

        A second input with the same output makes no second abduction task: the solver is asked the same.
        """
        program, payload = canonical_program(read_program(record)), record.payload
        if record.kind == INDUCTION:
            shown, hidden = read_examples(payload)
            asked = "; ".join(sorted(example.input for example in [*shown, *hidden]))
        else:
            asked = read_str(payload, "output" if record.kind == ABDUCTION else "input")
        return f"{record.kind} {asked}\n{program}"

    def _spec(self, kind: str) -> KindSpec:
        if self._terse:
            return KindSpec(kind, (kind,), min(self._num_references, 1))
        if kind == INDUCTION:
            programs = tuple(each for each in self._enabled if each in (DEDUCTION, ABDUCTION))
            return KindSpec(kind, programs or (INDUCTION,), 1)
        return KindSpec(kind, (kind,), self._num_references)

    def _given(self, kind: str, references: Sequence[TaskRecord], step: int) -> list[str]:
        """Programs that a proposal has to call."""
        if kind == INDUCTION or self._composites.share == 0:
            return []
        return choose_given(references, self._composites, step)

    def _domains(self) -> Sequence[str]:
        return rule_draws.DOMAINS if self._terse else grammar.DOMAINS

    def _draw(self, kind: str, domain: str, rng: random.Random) -> TaskRecord:
        if self._terse:
            return rule_draws.draw_record(kind, domain, rng)
        return draws.draw_record(kind, domain, self._form.num_inputs, rng, self._runner)


def _about_reference(draft: Draft, references: Sequence[TaskRecord]) -> Draft | Rejected:
    """The induction draft with the program of its reference.

    A proposal may repeat that program. Without a reference, which self-play always gives, it must bring one.
    """
    if not references:
        return draft if draft.program else malformed("no-program")
    program = read_program(references[0])
    if draft.program and not is_same_program(draft.program, program):
        return malformed("other-program")
    return Draft(program, draft.inputs, draft.message)
