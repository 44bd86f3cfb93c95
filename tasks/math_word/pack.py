"""The math_word pack: word problems with a number for an answer, which a program in the sandbox computes.

The parts: a form writes prompts and reads responses, admission makes records of proposals, stories make tasks
where no model is asked. `docs/math_word.md` has grammar and reasons.
"""

from __future__ import annotations

import functools
import logging
import random
from collections.abc import Mapping, Sequence
from pathlib import Path

from tasks.contract import Accepted, KindSpec, Message, Outcome, Rejected, TaskRecord, Verdict
from tasks.execution import Runner
from tasks.kit.held_out_file import FilePack, Stratum
from tasks.kit.knobs import check_bool, check_count, check_limits, check_sandbox
from tasks.kit.payload import read_str
from tasks.kit.response import Tags
from tasks.math_word.admission import Admission, admit_claim, admit_question
from tasks.math_word.form import Extraction, Form, TaggedForm, TerseForm
from tasks.math_word.number import equal
from tasks.math_word.records import NEXT_SHOT, PROBLEM, SHOTS, Verify, problem
from tasks.math_word.stories import STORIES, draw_story, seed_problems
from tasks.math_word.vote import find_majority

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


@functools.cache
def warn_of(verify: Verify) -> None:
    """Log what a `verify` without a check risks, once a process."""
    if verify in WARNINGS:
        logger.warning(WARNINGS[verify])


class MathWordPack(FilePack):
    """Word problems, of one kind."""

    name = "math_word"
    held_out_version = 1
    checks_repeat = False
    held_out_seed = 20250822
    default_held_out_path = Path(__file__).with_name("held_out.jsonl")
    terse_held_out_path = Path(__file__).with_name("held_out_terse.jsonl")
    """The set that a terse pack reads by default: the stories in short."""

    def __init__(
        self,
        *,
        verify: str = "program",
        extraction: str = "tags",
        num_references: int = 3,
        tags: str = "think_answer",
        time_limit_s: float = 1.0,
        memory_mb: int = 512,
        sandbox: Mapping[str, object] | None = None,
        terse: bool = False,
        held_out_path: str | None = None,
    ) -> None:
        """Set what is asked, how it is checked, and where programs run.

        Args:
            verify: program, claimed or majority.
            extraction: Where a solver's number is looked for: tags, strict (behind `####`) or flexible (the
                last one). A terse answer has a form of its own.
            num_references: Earlier problems in a proposer's prompt; 0 shows none. A terse prompt shows one at
                most.
            tags: What a response is wrapped in: think_answer, answer or none.
            time_limit_s: Twice the CPU seconds that a program may take.
            memory_mb: Memory of a run.
            sandbox: Keys of `tasks.sandbox.SandboxConfig`; null takes its defaults.
            terse: Prompts without instructions, for a model that was trained on them.
            held_out_path: Another held-out set in place of the committed one.

        Raises:
            ValueError: A knob has a value it cannot have.
        """
        for knob, value, known in (
            ("verify", verify, list(Verify)),
            ("extraction", extraction, list(Extraction)),
            ("tags", tags, list(Tags)),
        ):
            if value not in known:
                raise ValueError(f"pack.{knob} must be one of {', '.join(known)}; got {value!r}")
        check_bool("terse", terse)
        check_count("num_references", num_references, 0, 64)
        limits = check_limits(time_limit_s, memory_mb, RESULT_BYTES)
        terse_set = str(self.terse_held_out_path) if terse else None
        super().__init__(terse_set if held_out_path is None else held_out_path)
        self._verify = Verify(verify)
        warn_of(self._verify)
        self.resolves = self._verify is Verify.MAJORITY
        self._num_references = min(num_references, 1) if terse else num_references
        self._terse = terse
        self._reads_tags = extraction == Extraction.TAGS
        self._form: Form = TerseForm(self._verify)
        if not terse:
            self._form = TaggedForm(Tags(tags), Extraction(extraction), self._verify, time_limit_s)
        self._runner = Runner(check_sandbox(sandbox or {}), limits)
        self._admission = Admission(self._runner)

    def require_available(self) -> None:
        """Without programs there is nothing to run."""
        if self._verify is Verify.PROGRAM:
            self._runner.check()

    @property
    def kinds(self) -> tuple[KindSpec, ...]:
        return (KindSpec(PROBLEM, (PROBLEM,), self._num_references),)

    def seeds(self) -> Sequence[TaskRecord]:
        return [self._as_proposed(record) for record in seed_problems(self._terse)]

    def propose_prompt(
        self, kind: str, references: Sequence[TaskRecord], rng: random.Random, *, step: int = 0
    ) -> list[Message]:
        self.spec(kind)
        return [{"role": "user", "content": self._form.request(references)}]

    async def accept(
        self, kind: str, response: str, references: Sequence[TaskRecord], *, step: int = 0
    ) -> Accepted | Rejected:
        """See `TaskPack.accept`.

        Raises:
            SandboxBroken: The sandbox itself failed.
        """
        self.spec(kind)
        draft = self._form.read_proposal(response)
        if isinstance(draft, Rejected):
            return draft
        match self._verify:
            case Verify.PROGRAM:
                record = await self._runner.in_thread(self._admission.admit, draft)
            case Verify.CLAIMED:
                record = admit_claim(draft)
            case Verify.MAJORITY:
                record = admit_question(draft)
        return record if isinstance(record, Rejected) else Accepted(record)

    async def resolve(self, record: TaskRecord, responses: Sequence[str]) -> Accepted | Rejected:
        """With `verify=majority` the answer is what most responses say."""
        read = (self._form.read_answer(response) for response in responses)
        answer = find_majority([answer for answer in read if isinstance(answer, str)])
        if answer is None:
            return Rejected(Outcome.WRONG, "no-majority")
        return Accepted(problem(read_str(record.payload, "question"), answer))

    def answer_key(self, record: TaskRecord) -> str:
        return read_str(record.payload, "answer")

    def solve_prompt(self, record: TaskRecord) -> list[Message]:
        return [{"role": "user", "content": self._form.question(record)}]

    async def judge(self, record: TaskRecord, response: str) -> Verdict:
        if SHOTS in record.payload:
            # A base model goes on with problems of its own.
            response = response.partition(NEXT_SHOT)[0]
        answer = self._form.read_answer(response)
        if isinstance(answer, Verdict):
            return answer
        if equal(read_str(record.payload, "answer"), answer):
            return Verdict.correct()
        return Verdict.wrong("wrong-number")

    def gold_response(self, record: TaskRecord) -> str:
        return self._form.answer(record)

    def worked_response(self, record: TaskRecord) -> str:
        return self._form.worked_answer(record)

    def gold_proposal(self, record: TaskRecord) -> str:
        return self._form.proposal(record)

    def sample_record(self, kind: str, rng: random.Random) -> TaskRecord:
        """A problem of any story, the stories evenly."""
        self.spec(kind)
        return self._as_proposed(draw_story(rng.choice(list(STORIES)), self._terse, rng))

    def held_out(self) -> Sequence[TaskRecord]:
        """It also raises if solved problems would show another form of answer."""
        records = super().held_out()
        if (self._terse or self._reads_tags) and any(SHOTS in record.payload for record in records):
            raise ValueError(
                f"pack.extraction must be {Extraction.STRICT} or {Extraction.FLEXIBLE}, and pack.terse "
                f"false, with the solved problems of {self.held_out_path}"
            )
        return records

    def held_out_strata(self) -> Sequence[Stratum]:
        """One stratum a story."""

        def stratum(story: str) -> Stratum:
            return Stratum(story, HELD_OUT_PER_STORY, lambda rng: draw_story(story, self._terse, rng))

        return [stratum(story) for story in STORIES]

    def task_key(self, record: TaskRecord) -> str:
        """The question, whatever its layout, its capitals and who answers it how."""
        return f"{PROBLEM} {' '.join(read_str(record.payload, 'question').casefold().split())}"

    def _as_proposed(self, record: TaskRecord) -> TaskRecord:
        """A drawn problem as a proposal of it would be stored: where nothing is computed, without program."""
        if self._verify is Verify.PROGRAM:
            return record
        return problem(read_str(record.payload, "question"), read_str(record.payload, "answer"))
