"""Numbers in binary: write a number in binary (deduction), or read one (abduction)."""

import random
import re
from collections.abc import Sequence

from tasks.contract import Accepted, KindSpec, Message, Outcome, Rejected, TaskPack, TaskRecord, Verdict
from tasks.parsing import last_line
from tasks.payload import read_int

TASK = {"deduction": re.compile("bin ([0-9]{1,9})"), "abduction": re.compile("dec ([01]{1,30})")}
BASE = {"deduction": 10, "abduction": 2}
ANSWER = re.compile("[0-9]{1,30}")
HELD_OUT = range(20, 60)


class MyPack(TaskPack):
    name = "my_pack"
    held_out_version = 1

    def __init__(self, *, largest: int = 255) -> None:
        if not isinstance(largest, int) or not 99 <= largest < 2**29:
            raise ValueError(f"pack.largest must be an integer from 99 to 2**29 - 1; got {largest!r}")
        self._largest = largest

    @property
    def kinds(self) -> tuple[KindSpec, ...]:
        return tuple(KindSpec(kind, (kind,), 1) for kind in TASK)

    def seeds(self) -> Sequence[TaskRecord]:
        return [TaskRecord(kind, {"number": 6}) for kind in TASK]

    def propose_prompt(
        self, kind: str, references: Sequence[TaskRecord], rng: random.Random, *, step: int = 0
    ) -> list[Message]:
        request = f"Write one new task in this form, about a number from 0 to {self._largest}."
        return _ask(request, *(self.gold_proposal(record) for record in references))

    async def accept(
        self, kind: str, response: str, references: Sequence[TaskRecord], *, step: int = 0
    ) -> Accepted | Rejected:
        found = TASK[kind].fullmatch(last_line(response))
        if found is None:
            return Rejected(Outcome.MALFORMED, "no-task")
        number = int(found[1], BASE[kind])
        if number > self._largest:
            return Rejected(Outcome.WRONG, "too-large")
        return Accepted(TaskRecord(kind, {"number": number}))

    def solve_prompt(self, record: TaskRecord) -> list[Message]:
        return _ask(self.gold_proposal(record), "Reply with the number in the other notation.")

    async def judge(self, record: TaskRecord, response: str) -> Verdict:
        answer = last_line(response)
        if not ANSWER.fullmatch(answer):
            return Verdict(Outcome.MALFORMED, "no-number")
        right = int(answer) == int(self.gold_response(record))
        return Verdict(Outcome.CORRECT, "") if right else Verdict(Outcome.WRONG, "wrong-number")

    def gold_response(self, record: TaskRecord) -> str:
        number = read_int(record.payload, "number")
        return f"{number:b}" if record.kind == "deduction" else str(number)

    def gold_proposal(self, record: TaskRecord) -> str:
        number = read_int(record.payload, "number")
        return f"bin {number}" if record.kind == "deduction" else f"dec {number:b}"

    def sample_record(self, kind: str, rng: random.Random) -> TaskRecord:
        return TaskRecord(self.spec(kind).name, {"number": rng.randint(0, self._largest)})

    def held_out(self) -> Sequence[TaskRecord]:
        return [TaskRecord(kind, {"number": number}) for kind in TASK for number in HELD_OUT]


def _ask(*lines: str) -> list[Message]:
    return [{"role": "user", "content": "\n".join(lines)}]
