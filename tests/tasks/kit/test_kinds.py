"""A kind that is worded for every style at once, as packs by others have it, inside `KindsPack`."""

from __future__ import annotations

import asyncio
import pickle
import random
from pathlib import Path
from typing import Any, ClassVar

import pytest

from tasks.contract import Json, Outcome, Rejected, TaskRecord, Verdict
from tasks.kit.kinds import Kind, KindsPack, malformed
from tasks.kit.payload import Payload, read_int

RECORD = TaskRecord("double", {"number": 4})


class Double(Kind):
    """`Double: 4`, answered by `8`; terse `4`, answered by `:8`."""

    num_references = 3
    held_out_counts: ClassVar[dict[str, int]] = {"any": 5}
    request = "Write one more."
    seeds = ("Double: 1", "Double: 2")

    def parse(self, response: str) -> Payload | Rejected:
        digits = response.removeprefix("Double:").strip()
        return {"number": int(digits)} if digits.isdigit() else malformed("no-task")

    def statement(self, payload: Payload) -> str:
        return f"Double: {self.terse_statement(payload)}"

    def question(self, payload: Payload) -> str:
        return f"{self.statement(payload)}\nReply."

    def completion(self, payload: Payload) -> str:
        return f"{self.statement(payload)}\nTwice that:"

    def terse_statement(self, payload: Payload) -> str:
        return str(read_int(payload, "number"))

    def terse_question(self, payload: Payload) -> str:
        return f"{self.terse_statement(payload)}>"

    def judge(self, payload: Payload, response: str) -> Verdict:
        return Verdict(Outcome.CORRECT, "") if response == self.gold(payload) else self._malformed()

    def judge_terse(self, payload: Payload, response: str) -> Verdict:
        return self.judge(payload, response.removeprefix(":"))

    def gold(self, payload: Payload) -> str:
        return str(2 * read_int(payload, "number"))

    def terse_gold(self, payload: Payload) -> str:
        return f":{self.gold(payload)}"

    def worked(self, payload: Payload) -> str:
        return f"(+):{self.gold(payload)}"

    def draw(self, variant: str, rng: random.Random) -> dict[str, Json]:
        return {"number": rng.randint(0, 9)}

    def key(self, payload: Payload) -> str:
        return f"double {read_int(payload, 'number')}"

    def _malformed(self) -> Verdict:
        return Verdict(Outcome.MALFORMED, "no-answer")


class Doubles(KindsPack):
    """A pack of that kind."""

    name = "doubles"
    held_out_version = 1
    default_held_out_path = Path(__file__)

    def __init__(self, *arguments: Any) -> None:

        super().__init__({"double": Double()}, *arguments)


@pytest.mark.parametrize(
    ("arguments", "request_", "question", "answer", "num_references"),
    [
        ((False, None), "Write one more.\nDouble: 4", "Double: 4\nReply.", "8", 3),
        ((False, None, True), "Double: 4\nDouble:", "Double: 4\nTwice that:", "8", 3),
        ((True, None), "new\n4", "4>", ":8", 1),
        ((True, None, True), "new\n4", "4>", ":8", 1),
    ],
)
def test_every_style(
    arguments: tuple[Any, ...], request_: str, question: str, answer: str, num_references: int
) -> None:
    pack = pickle.loads(pickle.dumps(Doubles(*arguments)))
    assert pack.propose_prompt("double", [RECORD], random.Random(0))[0]["content"] == request_
    assert pack.solve_prompt(RECORD)[0]["content"] == question
    assert pack.gold_response(RECORD) == answer
    assert asyncio.run(pack.judge(RECORD, answer)).outcome is Outcome.CORRECT
    assert asyncio.run(pack.judge(RECORD, "7")).outcome is Outcome.MALFORMED
    assert pack.kinds[0].num_references == num_references
    # These know the kind by its first wording.
    assert (pack.answer_key(RECORD), pack.worked_response(RECORD)) == ("8", "(+):8")


def test_a_kind_that_is_not_there_is_named() -> None:
    with pytest.raises(ValueError, match="kind must be one of double; got 'half'"):
        Doubles(False, None).solve_prompt(TaskRecord("half", {}))
