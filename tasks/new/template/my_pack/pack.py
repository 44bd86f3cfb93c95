"""Numbers in binary: write a number in binary (deduction), or read one (abduction)."""

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass

from tasks.contract import Accepted, KindSpec, Message, Rejected, TaskPack, TaskRecord, Verdict
from tasks.kit.form import ask
from tasks.kit.knobs import check_count, takes_knobs
from tasks.kit.parsing import last_line
from tasks.kit.payload import read_int

TASK = {"deduction": re.compile("bin ([0-9]{1,9})"), "abduction": re.compile("dec ([01]{1,30})")}


@dataclass(frozen=True, kw_only=True)
class MyPackKnobs:
    largest: int = 255
    """Largest number in a task"""

    def __post_init__(self) -> None:
        check_count("largest", self.largest, 99, 2**29 - 1)


class MyPack(TaskPack):
    name = "my_pack"
    held_out_version = 1

    @takes_knobs(MyPackKnobs)
    def __init__(self, knobs: MyPackKnobs) -> None:
        self._largest = knobs.largest

    @property
    def kinds(self) -> tuple[KindSpec, ...]:
        return tuple(KindSpec(kind, (kind,), 1) for kind in TASK)

    def seeds(self) -> Sequence[TaskRecord]:
        return [TaskRecord(kind, {"number": 6}) for kind in TASK]

    def propose_prompt(
        self, kind: str, references: Sequence[TaskRecord], rng: random.Random, *, step: int = 0
    ) -> list[Message]:
        request = f"Write one new task in this form, about a number from 0 to {self._largest}."
        return ask("\n".join([request, *map(self.gold_proposal, references)]))

    async def accept(
        self, kind: str, response: str, references: Sequence[TaskRecord], *, step: int = 0
    ) -> Accepted | Rejected:
        found = TASK[kind].fullmatch(last_line(response))
        if found is None:
            return Rejected.malformed("no-task")
        number = int(found[1], 10 if kind == "deduction" else 2)
        task = TaskRecord(kind, {"number": number})
        return Accepted(task) if number <= self._largest else Rejected.wrong("too-large")

    def solve_prompt(self, record: TaskRecord) -> list[Message]:
        return ask(f"{self.gold_proposal(record)}\nReply with the number in the other notation.")

    async def judge(self, record: TaskRecord, response: str) -> Verdict:
        answer = last_line(response)
        if not re.fullmatch("[0-9]{1,30}", answer):
            return Verdict.malformed("no-number")
        right = int(answer) == int(self.gold_response(record))
        return Verdict.correct() if right else Verdict.wrong("wrong-number")

    def gold_response(self, record: TaskRecord) -> str:
        number = read_int(record.payload, "number")
        return f"{number:b}" if record.kind == "deduction" else str(number)

    def gold_proposal(self, record: TaskRecord) -> str:
        number = read_int(record.payload, "number")
        return f"bin {number}" if record.kind == "deduction" else f"dec {number:b}"

    def sample_record(self, kind: str, rng: random.Random) -> TaskRecord:
        return TaskRecord(self.spec(kind).name, {"number": rng.randint(0, self._largest)})

    def held_out(self) -> Sequence[TaskRecord]:
        return [TaskRecord(kind, {"number": number}) for kind in TASK for number in range(20, 60)]
