"""The math_word pack: word problems with a number for an answer, which a program in the sandbox computes.

The parts: a form writes prompts and reads responses, admission makes records of proposals, stories make tasks
where no model is asked. `docs/math_word.md` has grammar and reasons.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

from tasks.contract import Accepted, KindSpec, Rejected, TaskRecord, Verdict
from tasks.execution import Runner
from tasks.kit.form import TERSE_REFERENCES, FormPack
from tasks.kit.held_out_file import Stratum
from tasks.kit.knobs import ProgramKnobs, check_choice, check_count, check_limits, check_sandbox, takes_knobs
from tasks.kit.numbers import NumberError, read_number
from tasks.kit.payload import read_str
from tasks.kit.response import Tags
from tasks.math_word.admission import admit_program, read_question
from tasks.math_word.form import Extraction, TaggedForm, TerseForm
from tasks.math_word.number import equal, find_majority
from tasks.math_word.records import PROBLEM, SHOTS, Draft, Verify, problem
from tasks.math_word.stories import STORIES, draw_story, seed_problems

logger = logging.getLogger(__name__)

HELD_OUT_PER_STORY = 50

RESULT_BYTES = 4_096

WARNINGS = {
    Verify.CLAIMED: (
        "pack.verify=claimed: nobody checks the answers that proposers claim, and solvers are rewarded for "
        "agreeing with wrong ones. verify=program computes the answers."
    ),
    Verify.MAJORITY: (
        "pack.verify=majority: nobody checks the answers that most attempts agree on. A common mistake is "
        "rewarded, and proposers earn by questions on which the model is consistently wrong. Users of "
        "R-Zero, which labels so, measured that 30 to 40 % of its labels were right (its issue #20). "
        "verify=program computes the answers."
    ),
}


@cache
def warn_of(verify: Verify) -> None:
    """Log what a `verify` without a check risks, once a process."""
    if verify in WARNINGS:
        logger.warning(WARNINGS[verify])


@dataclass(frozen=True, kw_only=True)
class MathWordKnobs(ProgramKnobs):
    """What is asked, how it is checked, and where programs run."""

    verify: str = Verify.PROGRAM.value
    """How a problem gets its answer: `program` (the proposer's, run in the sandbox), `claimed` (the
    proposer's word) or `majority` (what most attempts say); nobody checks the last two."""

    extraction: str = Extraction.TAGS.value
    """Where a solver's number is looked for: `tags`, `strict` (behind `####`) or `flexible` (the last
    number). A terse answer has a form of its own."""

    num_references: int = 3
    """Earlier problems in a proposer's prompt, 0 to 64; a terse prompt shows one at most."""

    tags: str = Tags.THINK_ANSWER.value
    """What a response is wrapped in: `think_answer`, `answer` or `none`."""

    time_limit_s: float = 1.0
    """Twice the CPU seconds that a program may take, 0.05 to 60."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("verify", self.verify, list(Verify))
        check_choice("extraction", self.extraction, list(Extraction))
        check_choice("tags", self.tags, list(Tags))
        check_count("num_references", self.num_references, 0, 64)


class MathWordPack(FormPack[Draft]):
    """Word problems, of one kind."""

    name = "math_word"
    held_out_version = 1
    checks_repeat = False
    held_out_seed = 20250822
    default_held_out_path = Path(__file__).with_name("held_out.jsonl")
    terse_held_out_path = Path(__file__).with_name("held_out_terse.jsonl")
    """The set that a terse pack reads by default: the stories in short."""

    @takes_knobs(MathWordKnobs)
    def __init__(self, knobs: MathWordKnobs) -> None:
        terse_set = str(self.terse_held_out_path) if knobs.terse else None
        super().__init__(terse_set if knobs.held_out_path is None else knobs.held_out_path)
        self._knobs = knobs
        self._verify = Verify(knobs.verify)
        warn_of(self._verify)
        self.resolves = self._verify is Verify.MAJORITY
        extraction, seconds = Extraction(knobs.extraction), knobs.time_limit_s
        tagged = TaggedForm(Tags(knobs.tags), extraction, self._verify, seconds)
        self._form = TerseForm(self._verify) if knobs.terse else tagged
        limits = check_limits(seconds, knobs.memory_mb, RESULT_BYTES)
        self._runner = Runner(check_sandbox(knobs.sandbox or {}), limits)

    def require_available(self) -> None:
        """Without programs there is nothing to run."""
        if self._verify is Verify.PROGRAM:
            self._runner.check()

    @property
    def kinds(self) -> tuple[KindSpec, ...]:
        count = self._knobs.num_references
        shown = min(count, TERSE_REFERENCES) if self._knobs.terse else count
        return (KindSpec(PROBLEM, (PROBLEM,), shown),)

    def seeds(self) -> Sequence[TaskRecord]:
        return [self._as_proposed(record) for record in seed_problems(self._knobs.terse)]

    async def admit(
        self, kind: str, draft: Draft, references: Sequence[TaskRecord], step: int
    ) -> Accepted | Rejected:
        question = read_question(draft.question)
        if isinstance(question, Rejected):
            return question
        match self._verify:
            case Verify.PROGRAM:
                admit = partial(admit_program, question, draft.solution, self._runner)
                record = await self._runner.in_thread(admit)
                return record if isinstance(record, Rejected) else Accepted(record)
            case Verify.CLAIMED:
                try:
                    return Accepted(problem(question, read_number(draft.solution)))
                except NumberError as error:
                    # Unlike a missing claim, one that is no number is not malformed: minAZR prices it apart.
                    return Rejected.wrong(str(error))
            case Verify.MAJORITY:
                return Accepted(problem(question))

    async def resolve(self, record: TaskRecord, responses: Sequence[str]) -> Accepted | Rejected:
        """With `verify=majority` the answer is what most responses say."""
        read = (self._form.read_answer(record, response) for response in responses)
        answer = find_majority([answer for answer in read if isinstance(answer, str)])
        if answer is None:
            return Rejected.wrong("no-majority")
        return Accepted(problem(read_str(record.payload, "question"), answer))

    async def grade(self, record: TaskRecord, answer: str) -> Verdict:
        is_right = equal(self.answer_key(record), answer)
        return Verdict.correct() if is_right else Verdict.wrong("wrong-number")

    def answer_key(self, record: TaskRecord) -> str:
        return read_str(record.payload, "answer")

    def sample_record(self, kind: str, rng: random.Random) -> TaskRecord:
        """A problem of any story, the stories evenly."""
        self.spec(kind)
        return self._as_proposed(draw_story(rng.choice(list(STORIES)), self._knobs.terse, rng))

    def held_out(self) -> Sequence[TaskRecord]:
        """The file's problems.

        Raises:
            ValueError: They are shown behind solved ones, whose answers have another form than is asked for.
        """
        records = super().held_out()
        has_other_form = self._knobs.terse or self._knobs.extraction == Extraction.TAGS
        if has_other_form and any(SHOTS in record.payload for record in records):
            raise ValueError(
                f"pack.extraction must be {Extraction.STRICT} or {Extraction.FLEXIBLE}, and pack.terse "
                f"false, with the solved problems of {self.held_out_path}"
            )
        return records

    def held_out_strata(self) -> Sequence[Stratum]:
        """One stratum a story."""
        return [
            Stratum(story, HELD_OUT_PER_STORY, partial(draw_story, story, self._knobs.terse))
            for story in STORIES
        ]

    def task_key(self, record: TaskRecord) -> str:
        """The question, whatever its layout, its capitals and who answers it how."""
        return f"{PROBLEM} {' '.join(read_str(record.payload, 'question').casefold().split())}"

    def _as_proposed(self, record: TaskRecord) -> TaskRecord:
        """A drawn problem as a proposal of it would be stored: where nothing is computed, without program."""
        if self._verify is Verify.PROGRAM:
            return record
        return problem(read_str(record.payload, "question"), read_str(record.payload, "answer"))
