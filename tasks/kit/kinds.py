"""A pack made of kinds that each read, state and check their own tasks without state or machinery.

It spares such a pack the dispatch: what is left to write is one `Kind` a kind of task, and the knobs.
"""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import ClassVar

from tasks.contract import Accepted, Json, KindSpec, Message, Outcome, Rejected, TaskRecord, Verdict
from tasks.kit.held_out_file import FilePack, Stratum
from tasks.kit.knobs import check_bool
from tasks.kit.parsing import first_line
from tasks.kit.payload import Payload

TERSE_REQUEST = "new"
"""First line of a terse proposer's prompt; the reference says of which kind."""

TERSE_REFERENCES = 1
"""References in a terse proposer's prompt."""


class Kind(ABC):
    """One kind of task: its wording, its grammar and its checks."""

    num_references: int
    """Records of this kind that are shown in a proposer's prompt."""

    held_out_counts: ClassVar[Mapping[str, int]]
    """Held-out tasks by variant, such as an operation."""

    request: str
    """First line of a proposer's prompt; the references follow, one a line."""

    seeds: Sequence[str]
    """Proposals that start the buffer. Valid under every setting of the knobs."""

    @abstractmethod
    def parse(self, response: str) -> Payload | Rejected:
        """Read and check one proposal."""

    @abstractmethod
    def statement(self, payload: Payload) -> str:
        """The proposal that `parse` reads as this task."""

    @abstractmethod
    def question(self, payload: Payload) -> str:
        """The solver's prompt."""

    def completion(self, payload: Payload) -> str:
        """The same prompt as a text that stops before the answer: for a model that goes on with texts."""
        return self.question(payload)

    @abstractmethod
    def terse_statement(self, payload: Payload) -> str:
        """The same proposal with the bare task only."""

    @abstractmethod
    def terse_question(self, payload: Payload) -> str:
        """The same prompt with the bare task only: for a model that knows already what to do with it."""

    @abstractmethod
    def judge(self, payload: Payload, response: str) -> Verdict:
        """Compare one answer with the task."""

    def judge_terse(self, payload: Payload, response: str) -> Verdict:
        """Compare one answer to a terse prompt with the task."""
        return self.judge(payload, response)

    @abstractmethod
    def gold(self, payload: Payload) -> str:
        """A response that `judge` calls right."""

    def difficulty(self, payload: Payload) -> str:
        """The task's difficulty (`TaskPack.difficulty`); "" where the kind has none."""
        return ""

    def structure(self, payload: Payload) -> str | None:
        """What the task is made like (`TaskPack.structure_key`); None where the kind does not say."""
        return None

    def terse_gold(self, payload: Payload) -> str:
        """The same response with the bare answer only."""
        return self.gold(payload)

    def worked(self, payload: Payload) -> str | None:
        """A right response that shows its working; None where there is nothing to show."""
        return None

    @abstractmethod
    def draw(self, variant: str, rng: random.Random) -> dict[str, Json]:
        """Draw a task of `variant`, a key of `held_out_counts`."""

    @abstractmethod
    def key(self, payload: Payload) -> str:
        """What makes two tasks the same; unlike the keys of other kinds, unless the tasks are the same."""

    def sample(self, rng: random.Random) -> dict[str, Json]:
        """Draw a task of any variant, the variants evenly."""
        return self.draw(rng.choice(list(self.held_out_counts)), rng)


class KindsPack(FilePack):
    """A pack that hands every question to one of its kinds."""

    def __init__(
        self, kinds: Mapping[str, Kind], terse: bool, held_out_path: str | None, completes: bool = False
    ) -> None:
        """Build the pack out of its kinds, by name and in order.

        Args:
            kinds: The kinds.
            terse: Prompts without instructions, for a model that was trained on them. A byte-level model
                spends most of its time on reading, so this makes it several times faster.
            held_out_path: Another held-out set in place of the committed one.
            completes: Prompts stop where a model is to go on, and the first line of its response counts: it
                goes on after that. Of no account with terse prompts.

        Raises:
            ValueError: `terse` is no truth value.
        """
        check_bool("terse", terse)
        super().__init__(held_out_path)
        self._kinds = dict(kinds)
        self._terse = terse
        self._completes = completes and not terse

    @property
    def kinds(self) -> tuple[KindSpec, ...]:
        """See `TaskPack.kinds`."""
        return tuple(
            KindSpec(name, (name,), TERSE_REFERENCES if self._terse else kind.num_references)
            for name, kind in self._kinds.items()
        )

    def seeds(self) -> Sequence[TaskRecord]:
        """See `TaskPack.seeds`."""
        records = []
        for name, kind in self._kinds.items():
            for proposal in kind.seeds:
                payload = kind.parse(proposal)
                assert not isinstance(payload, Rejected), proposal
                records.append(TaskRecord(name, payload))
        return records

    def propose_prompt(
        self, kind: str, references: Sequence[TaskRecord], rng: random.Random, *, step: int = 0
    ) -> list[Message]:
        """See `TaskPack.propose_prompt`; without references, the first seed of the kind is the example."""
        logic = self._logic(kind)
        examples = [self.gold_proposal(record) for record in references or self._first_seed(kind)]
        lines = [TERSE_REQUEST if self._terse else logic.request, *examples]
        if self._completes:
            lines.append(f"{examples[0].partition(':')[0]}:")
        return [{"role": "user", "content": "\n".join(lines)}]

    async def accept(
        self, kind: str, response: str, references: Sequence[TaskRecord], *, step: int = 0
    ) -> Accepted | Rejected:
        """See `TaskPack.accept`."""
        payload = self._logic(kind).parse(self._cut(response))
        return payload if isinstance(payload, Rejected) else Accepted(TaskRecord(kind, payload))

    def solve_prompt(self, record: TaskRecord) -> list[Message]:
        """See `TaskPack.solve_prompt`."""
        logic = self._logic(record.kind)
        ask = logic.completion if self._completes else logic.question
        return [{"role": "user", "content": (logic.terse_question if self._terse else ask)(record.payload)}]

    async def judge(self, record: TaskRecord, response: str) -> Verdict:
        """See `TaskPack.judge`."""
        logic = self._logic(record.kind)
        judge = logic.judge_terse if self._terse else logic.judge
        return judge(record.payload, self._cut(response))

    def gold_response(self, record: TaskRecord) -> str:
        """See `TaskPack.gold_response`."""
        logic = self._logic(record.kind)
        return logic.terse_gold(record.payload) if self._terse else logic.gold(record.payload)

    def answer_key(self, record: TaskRecord) -> str:
        """See `TaskPack.answer_key`."""
        return self._logic(record.kind).gold(record.payload)

    def structure_key(self, record: TaskRecord) -> str | None:
        """See `TaskPack.structure_key`."""
        return self._logic(record.kind).structure(record.payload)

    def difficulty(self, record: TaskRecord) -> str:
        """See `TaskPack.difficulty`."""
        return self._logic(record.kind).difficulty(record.payload)

    def worked_response(self, record: TaskRecord) -> str:
        """See `TaskPack.worked_response`."""
        worked = self._logic(record.kind).worked(record.payload)
        return self.gold_response(record) if worked is None else worked

    def gold_proposal(self, record: TaskRecord) -> str:
        """See `TaskPack.gold_proposal`."""
        logic = self._logic(record.kind)
        return logic.terse_statement(record.payload) if self._terse else logic.statement(record.payload)

    def sample_record(self, kind: str, rng: random.Random) -> TaskRecord:
        """See `TaskPack.sample_record`."""
        return TaskRecord(kind, self._logic(kind).sample(rng))

    def task_key(self, record: TaskRecord) -> str:
        """See `TaskPack.task_key`."""
        return self._logic(record.kind).key(record.payload)

    def held_out(self) -> Sequence[TaskRecord]:
        """See `TaskPack.held_out`; the tasks of the kinds that are on.

        Raises:
            ValueError: The set has none of them.
        """
        records = [record for record in super().held_out() if record.kind in self._kinds]
        if not records:
            raise ValueError(f"held-out set {self.held_out_path} must have tasks of {', '.join(self._kinds)}")
        return records

    def held_out_strata(self) -> Sequence[Stratum]:
        """See `FilePack.held_out_strata`: one stratum a kind and variant."""

        def stratum(name: str, variant: str) -> Stratum:
            kind = self._kinds[name]
            return Stratum(
                name=f"{name} {variant}",
                count=kind.held_out_counts[variant],
                draw=lambda rng: TaskRecord(name, kind.draw(variant, rng)),
            )

        return [stratum(name, v) for name, kind in self._kinds.items() for v in kind.held_out_counts]

    def _cut(self, response: str) -> str:
        """What counts of a response, as far as it is not for the kind to say."""
        return first_line(response) if self._completes else response

    def _first_seed(self, kind: str) -> list[TaskRecord]:
        return [next(record for record in self.seeds() if record.kind == kind)]

    def _logic(self, kind: str) -> Kind:
        return self._kinds[self.spec(kind).name]


def malformed(reason: str) -> Rejected:
    """A proposal outside the grammar."""
    return Rejected(Outcome.MALFORMED, reason)


def wrong(reason: str) -> Rejected:
    """A proposal that fits the grammar and is no task."""
    return Rejected(Outcome.WRONG, reason)
