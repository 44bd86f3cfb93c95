"""A pack made of kinds that each read, state and check their own tasks without state or machinery.

It spares such a pack the dispatch: what is left to write is one `Kind` a kind of task, and the knobs.
"""

from __future__ import annotations

import copy
import inspect
import random
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from enum import StrEnum
from functools import partial
from typing import ClassVar

from tasks.contract import Accepted, Json, KindSpec, Message, Rejected, TaskRecord, Verdict
from tasks.kit.form import TERSE_REFERENCES, TERSE_REQUEST, ask
from tasks.kit.held_out_file import FilePack, Stratum
from tasks.kit.knobs import check_bool
from tasks.kit.parsing import first_line
from tasks.kit.payload import Payload


class Style(StrEnum):
    """How the kinds of a pack word their tasks."""

    CHAT = "chat"  # With instructions, for a model that is told what to do.
    BASE = "base"  # As a text that stops where the model goes on; the first line of a response counts.
    TERSE = "terse"  # The bare task, for a model that was trained on it.

    @classmethod
    def of(cls, *, terse: bool, completes: bool = False) -> Style:
        """The style of a pack with these knobs; with terse prompts `completes` is of no account."""
        return cls.TERSE if terse else cls.BASE if completes else cls.CHAT


class Kind(ABC):
    """One kind of task: its grammar, its checks, and its wording in the style that it is built for."""

    num_references: int
    """Records of this kind that are shown in a proposer's prompt; one at most where it is terse."""

    held_out_counts: ClassVar[Mapping[str, int]]
    """Held-out tasks by variant, such as an operation."""

    request: str
    """First line of a proposer's prompt for a chat model; the references follow, one a line."""

    seeds: Sequence[str]
    """Proposals that start the buffer. Valid under every setting of the knobs."""

    def __init__(self, style: Style = Style.CHAT) -> None:
        self._style = style

    @abstractmethod
    def parse(self, response: str) -> Payload | Rejected:
        """Read and check one proposal, of any style."""

    @abstractmethod
    def statement(self, payload: Payload) -> str:
        """The proposal that `parse` reads as this task."""

    @abstractmethod
    def question(self, payload: Payload) -> str:
        """The solver's prompt."""

    @abstractmethod
    def judge(self, payload: Payload, response: str) -> Verdict:
        """Compare one answer with the task."""

    @abstractmethod
    def gold(self, payload: Payload) -> str:
        """A response that `judge` calls right."""

    def worked(self, payload: Payload) -> str | None:
        """A right response that shows its working; None where there is nothing to show."""
        return None

    def answer_key(self, payload: Payload) -> str:
        """What makes two tasks' answers the same (`TaskPack.answer_key`); the same in every style."""
        return self.gold(payload)

    def difficulty(self, payload: Payload) -> str:
        """The task's difficulty (`TaskPack.difficulty`); "" where the kind has none."""
        return ""

    def num_tasks(self) -> Mapping[str, int]:
        """How many tasks there are (`TaskPack.num_tasks`); empty where the kind does not say."""
        return {}

    def levels(self) -> tuple[str, ...]:
        """The difficulties that `draw_at` can draw (`TaskPack.levels`); empty where the kind has none."""
        return ()

    def draw_at(self, level: str, rng: random.Random) -> dict[str, Json]:
        """Draw a task of one of `levels`."""
        raise NotImplementedError

    def structure(self, payload: Payload) -> str | None:
        """The task's structure (`TaskPack.structure_key`); None where the kind does not say."""
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
        """Build the pack out of its kinds, by name and in order, built for the `Style` of these knobs.

        A byte-level model spends most of its time on reading: `terse` makes it several times faster.
        """
        check_bool("terse", terse)
        super().__init__(held_out_path)
        self._style = Style.of(terse=terse, completes=completes)
        self._kinds = {name: _in_style(kind, self._style) for name, kind in kinds.items()}

    @property
    def kinds(self) -> tuple[KindSpec, ...]:
        most = TERSE_REFERENCES if self._style is Style.TERSE else None
        return tuple(
            KindSpec(name, (name,), most or kind.num_references) for name, kind in self._kinds.items()
        )

    @property
    def stop_strings(self) -> tuple[str, ...]:
        """A text's completion is one line; chat models and terse ones end their turn themselves."""
        return ("\n",) if self._style is Style.BASE else ()

    def seeds(self) -> Sequence[TaskRecord]:
        return [record for name in self._kinds for record in self._seeds(name)]

    def propose_prompt(
        self, kind: str, references: Sequence[TaskRecord], rng: random.Random, *, step: int = 0
    ) -> list[Message]:
        """Without references, the first seed of the kind is the example. A text asks for nothing."""
        examples = [self.gold_proposal(each) for each in references or self._seeds(kind)[:1]]
        if self._style is Style.BASE:
            return ask("\n".join([*examples, f"{examples[0].partition(':')[0]}:"]))
        request = TERSE_REQUEST if self._style is Style.TERSE else self._logic(kind).request
        return ask("\n".join([request, *examples]))

    async def accept(
        self, kind: str, response: str, references: Sequence[TaskRecord], *, step: int = 0
    ) -> Accepted | Rejected:
        payload = self._logic(kind).parse(self._cut(response))
        return payload if isinstance(payload, Rejected) else Accepted(TaskRecord(kind, payload))

    def solve_prompt(self, record: TaskRecord) -> list[Message]:
        return ask(self._logic(record.kind).question(record.payload))

    async def judge(self, record: TaskRecord, response: str) -> Verdict:
        return self._logic(record.kind).judge(record.payload, self._cut(response))

    def gold_response(self, record: TaskRecord) -> str:
        return self._logic(record.kind).gold(record.payload)

    def worked_response(self, record: TaskRecord) -> str:
        return self._logic(record.kind).worked(record.payload) or self.gold_response(record)

    def gold_proposal(self, record: TaskRecord) -> str:
        return self._logic(record.kind).statement(record.payload)

    def answer_key(self, record: TaskRecord) -> str:
        return self._logic(record.kind).answer_key(record.payload)

    def structure_key(self, record: TaskRecord) -> str | None:
        return self._logic(record.kind).structure(record.payload)

    def difficulty(self, record: TaskRecord) -> str:
        return self._logic(record.kind).difficulty(record.payload)

    def num_tasks(self, kind: str) -> Mapping[str, int]:
        return self._logic(kind).num_tasks()

    def levels(self, kind: str) -> tuple[str, ...]:
        return self._logic(kind).levels()

    def sample_at(self, kind: str, level: str, rng: random.Random) -> TaskRecord:
        if level not in (known := self.levels(kind)):
            names = ", ".join(known) or f"none; {kind} has no levels"
            raise ValueError(f"level must be one of {names}; got {level!r}")
        return TaskRecord(kind, self._logic(kind).draw_at(level, rng))

    def sample_record(self, kind: str, rng: random.Random) -> TaskRecord:
        return TaskRecord(kind, self._logic(kind).sample(rng))

    def task_key(self, record: TaskRecord) -> str:
        return self._logic(record.kind).key(record.payload)

    def held_out(self) -> Sequence[TaskRecord]:
        """The tasks of the kinds that are on.

        Raises:
            ValueError: The set has none of them.
        """
        records = [record for record in super().held_out() if record.kind in self._kinds]
        if not records:
            raise ValueError(f"held-out set {self.held_out_path} must have tasks of {', '.join(self._kinds)}")
        return records

    def held_out_strata(self) -> Sequence[Stratum]:
        """One stratum a kind and variant."""
        return [
            Stratum(f"{name} {variant}", count, partial(self._draw, name, variant))
            for name, kind in self._kinds.items()
            for variant, count in kind.held_out_counts.items()
        ]

    def _draw(self, name: str, variant: str, rng: random.Random) -> TaskRecord:
        return TaskRecord(name, self._kinds[name].draw(variant, rng))

    def _logic(self, kind: str) -> Kind:
        return self._kinds[self.spec(kind).name]

    def _seeds(self, name: str) -> list[TaskRecord]:
        records = []
        for proposal in self._kinds[name].seeds:
            payload = self._kinds[name].parse(proposal)
            assert not isinstance(payload, Rejected), proposal
            records.append(TaskRecord(name, payload))
        return records

    def _cut(self, response: str) -> str:
        """What counts of a response, as far as it is not for the kind to say."""
        return first_line(response) if self._style is Style.BASE else response


# Names that packs by others import from here.
malformed, wrong = Rejected.malformed, Rejected.wrong

_TWINS = {
    Style.CHAT: {},
    Style.BASE: {"question": "completion"},
    Style.TERSE: {
        "statement": "terse_statement",
        "question": "terse_question",
        "judge": "judge_terse",
        "gold": "terse_gold",
    },
}
"""Packs by others may have kinds with a method for every style; these stand for the methods of `Kind`."""


def _in_style(kind: Kind, style: Style) -> Kind:
    """A kind as it words its tasks in `style`; one that was built for a style is left as it is."""
    twins = {name: getattr(kind, twin) for name, twin in _TWINS[style].items() if hasattr(kind, twin)}
    if not twins:
        return kind
    # Bound to the kind itself, whose methods call each other by their first meaning.
    names = [name for name, each in vars(Kind).items() if inspect.isfunction(each) and name != "__init__"]
    styled = copy.copy(kind)
    vars(styled).update({name: getattr(kind, name) for name in names} | twins)
    return styled
