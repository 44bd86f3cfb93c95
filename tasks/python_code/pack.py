"""The python_code pack: tasks about programs, checked by running them in a sandbox.

A form writes prompts and reads responses, `checks.py` makes records of proposals and compares answers,
`generate.py` and `terse_programs.py` draw tasks. `docs/python_code.md` has grammar and reasons.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from tasks.contract import Accepted, KindSpec, Message, Rejected, TaskRecord, Verdict
from tasks.execution import Runner
from tasks.kit.form import TERSE_REFERENCES, FormPack, ask
from tasks.kit.held_out_file import Stratum
from tasks.kit.knobs import check_limits, check_sandbox, takes_knobs
from tasks.kit.program import canonical_program, is_same_program
from tasks.python_code import generate, terse_programs
from tasks.python_code.checks import SHARE, grade_by_running, grade_error, grade_output, validate
from tasks.python_code.composite import choose_given, define_given
from tasks.python_code.features import FEATURES, measure
from tasks.python_code.knobs import MAX_LITERAL_CHARS, PythonCodeKnobs
from tasks.python_code.records import ABDUCTION, DEDUCTION, ERROR, INDUCTION, KINDS, Draft, Task
from tasks.python_code.seeds import IDENTITY, built_in_seed, read_seeds
from tasks.python_code.tagged import TaggedForm
from tasks.python_code.terse import TerseForm

HELD_OUT_PER_STRATUM = 45
TERSE_HELD_OUT_PER_STRATUM = 80
RESULT_BYTES = 4 * MAX_LITERAL_CHARS  # of a character UTF-8 makes four bytes at most


class PythonCodePack(FormPack[Draft]):
    """Deduction, abduction, induction and, if asked for, error tasks about Python programs."""

    name = "python_code"
    held_out_version = 1
    checks_repeat = False
    held_out_seed = 20250503
    default_held_out_path = Path(__file__).with_name("held_out.jsonl")
    terse_held_out_path = Path(__file__).with_name("held_out_terse.jsonl")
    """The set that a terse pack reads by default: programs that fit in one line."""

    @takes_knobs(PythonCodeKnobs)
    def __init__(self, knobs: PythonCodeKnobs) -> None:
        terse_set = str(self.terse_held_out_path) if knobs.terse else None
        super().__init__(terse_set if knobs.held_out_path is None else knobs.held_out_path)
        self._knobs = knobs
        self._enabled = tuple(kind for kind in KINDS if kind in knobs.kinds)
        self._domains = terse_programs.DOMAINS if knobs.terse else generate.DOMAINS
        self._form: TaggedForm | TerseForm = TerseForm() if knobs.terse else TaggedForm(knobs)
        limits = check_limits(knobs.time_limit_s, knobs.memory_mb, RESULT_BYTES)
        self.runner = Runner(check_sandbox(knobs.sandbox or {}), limits)

    def require_available(self) -> None:
        self.runner.check()

    @property
    def kinds(self) -> tuple[KindSpec, ...]:
        return tuple(self._spec(kind) for kind in self._enabled)

    def seeds(self) -> Sequence[TaskRecord]:
        """Those of the seed file (`read_seeds`); kinds without any there start from the built-in seed."""
        records: list[TaskRecord] = []
        num_inputs = self._form.num_inputs
        if self._knobs.seed_path is not None:
            make = partial(validate, knobs=self._knobs, runner=self.runner)
            path = Path(self._knobs.seed_path)
            records = read_seeds(path, self._enabled, num_inputs, make, self.task_key)
        known = {record.kind for record in records}
        return [*records, *(built_in_seed(kind, num_inputs) for kind in self._enabled if kind not in known)]

    def propose_prompt(
        self, kind: str, references: Sequence[TaskRecord], rng: random.Random, *, step: int = 0
    ) -> list[Message]:
        self.spec(kind)
        if not references and (self._knobs.terse or kind == INDUCTION):
            # Terse prompts say by their reference of which kind a task is wanted.
            references = [built_in_seed(kind, self._form.num_inputs)]
        given = define_given(choose_given(kind, references, self._knobs, step))
        return ask(self._form.request(kind, references, given))

    async def admit(
        self, kind: str, draft: Draft, references: Sequence[TaskRecord], step: int
    ) -> Accepted | Rejected:
        if kind == INDUCTION and not self._knobs.terse:
            of_reference = _about_reference(draft, references)
            if isinstance(of_reference, Rejected):
                return of_reference
            draft = of_reference
        given = choose_given(kind, references, self._knobs, step)
        record = await self.runner.in_thread(validate, kind, draft, self._knobs, self.runner, given)
        return record if isinstance(record, Rejected) else Accepted(record)

    @property
    def feature_names(self) -> tuple[str, ...]:
        return tuple(FEATURES)

    def features(
        self, record: TaskRecord, references: Sequence[TaskRecord], names: Sequence[str]
    ) -> dict[str, float]:
        measured = {name: measure(name, record, references) for name in names}
        return {name: value for name, value in measured.items() if value is not None}

    def answer_key(self, record: TaskRecord) -> str:
        """The answer; of an induction task, which asks for a program, all outputs."""
        task = Task.read(record)
        if task.kind != INDUCTION:
            return task.answer
        return "; ".join(example.output for example in task.examples)

    @property
    def measure_names(self) -> tuple[str, ...]:
        return (SHARE,) if INDUCTION in self._enabled else ()

    async def grade(self, record: TaskRecord, answer: str) -> Verdict:
        task, strict = Task.read(record), self._knobs.strict_equality
        # Where nothing runs, a thread would cost more than the comparison.
        if task.kind == ERROR:
            return grade_error(task, answer)
        if task.kind == DEDUCTION:
            return grade_output(task, answer, strict)
        return await self.runner.in_thread(grade_by_running, task, answer, strict, self.runner)

    def sample_record(self, kind: str, rng: random.Random) -> TaskRecord:
        """Draw a task; raises SandboxBroken where its outputs, unless it is a terse one, cannot be had."""
        self.spec(kind)
        return self._draw(kind, rng.choice(self._domains), rng)

    def held_out(self) -> Sequence[TaskRecord]:
        """The tasks of the kinds that are on."""
        return [record for record in super().held_out() if record.kind in self._enabled]

    def held_out_strata(self) -> Sequence[Stratum]:
        """One stratum a kind and type of input."""
        count = TERSE_HELD_OUT_PER_STRATUM if self._knobs.terse else HELD_OUT_PER_STRATUM
        return [
            Stratum(f"{kind} {domain}", count, partial(self._draw, kind, domain))
            for kind in self._enabled
            for domain in self._domains
        ]

    def task_key(self, record: TaskRecord) -> str:
        """The program without layout and comments, and what is asked of it.

        A second input with the same output makes no second abduction task: the solver is asked the same.
        """
        task = Task.read(record)
        if task.kind == INDUCTION:
            asked = "; ".join(sorted(example.input for example in task.examples))
        else:
            asked = task.output if task.kind == ABDUCTION else task.input
        return f"{task.kind} {asked}\n{canonical_program(task.program)}"

    def _spec(self, kind: str) -> KindSpec:
        if self._knobs.terse:
            return KindSpec(kind, (kind,), min(self._knobs.num_references, TERSE_REFERENCES))
        if kind == INDUCTION:
            programs = tuple(each for each in self._enabled if each in (DEDUCTION, ABDUCTION))
            return KindSpec(kind, programs or (INDUCTION,), 1)
        return KindSpec(kind, (kind,), self._knobs.num_references)

    def _draw(self, kind: str, domain: str, rng: random.Random) -> TaskRecord:
        if self._knobs.terse:
            return terse_programs.draw_record(kind, domain, rng)
        return generate.draw_record(kind, domain, self._form.num_inputs, rng, self.runner)


def _about_reference(draft: Draft, references: Sequence[TaskRecord]) -> Draft | Rejected:
    """The induction draft with the program of its reference.

    A proposal may repeat that program. Without a reference it may bring another than the seed's, which its
    prompt shows.
    """
    if not references:
        return draft if draft.program else Draft(IDENTITY, draft.inputs, draft.message)
    program = Task.read(references[0]).program
    if draft.program and not is_same_program(draft.program, program):
        return Rejected.malformed("other-program")
    return Draft(program, draft.inputs, draft.message)
