"""Sums of two numbers, out of the building blocks."""

from __future__ import annotations

import random
import re
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from tasks.contract import Json, Outcome, PackUnavailableError, Rejected, Verdict
from tasks.kinds_pack import Kind, KindsPack, malformed, wrong
from tasks.knobs import check_count
from tasks.number import NumberError, read_number
from tasks.parsing import last_line
from tasks.payload import Payload, read_int

SUM = re.compile(r"(?:Add:[ \t]*)?([0-9]{1,6})[ \t]*\+[ \t]*([0-9]{1,6})[ \t]*=")


class Addition(Kind):
    """`Add: 12 + 5 =`, answered by `17`."""

    num_references = 2
    held_out_counts: ClassVar[Mapping[str, int]] = {"+": 12}
    request = "Write one new sum in this form."
    seeds = ("Add: 3 + 4 =", "Add: 9 + 5 =")

    def __init__(self, largest: int) -> None:
        self._largest = largest

    def parse(self, response: str) -> Payload | Rejected:
        found = SUM.fullmatch(last_line(response))
        if found is None:
            return malformed("no-sum")
        a, b = int(found[1]), int(found[2])
        return wrong("too-large") if max(a, b) > self._largest else {"a": a, "b": b}

    def statement(self, payload: Payload) -> str:
        return f"Add: {self.terse_statement(payload)}"

    def question(self, payload: Payload) -> str:
        return f"{self.statement(payload)}\nReply with the number only."

    def terse_statement(self, payload: Payload) -> str:
        return f"{read_int(payload, 'a')} + {read_int(payload, 'b')} ="

    def terse_question(self, payload: Payload) -> str:
        return self.terse_statement(payload)

    def judge(self, payload: Payload, response: str) -> Verdict:
        try:
            answer = read_number(last_line(response))
        except NumberError as error:
            return Verdict(Outcome.MALFORMED, str(error))
        right = answer == self.gold(payload)
        return Verdict(Outcome.CORRECT, "") if right else Verdict(Outcome.WRONG, "wrong-number")

    def judge_terse(self, payload: Payload, response: str) -> Verdict:
        return self.judge(payload, last_line(response).removeprefix(":"))

    def gold(self, payload: Payload) -> str:
        return str(read_int(payload, "a") + read_int(payload, "b"))

    def terse_gold(self, payload: Payload) -> str:
        return f":{self.gold(payload)}"

    def draw(self, variant: str, rng: random.Random) -> dict[str, Json]:
        return {"a": rng.randint(0, self._largest), "b": rng.randint(0, self._largest)}

    def key(self, payload: Payload) -> str:
        return f"{read_int(payload, 'a')}+{read_int(payload, 'b')}"


class SumsPack(KindsPack):
    name = "sums"
    held_out_version = 1
    held_out_seed = 7
    default_held_out_path = Path(__file__).with_name("held_out.jsonl")

    def __init__(
        self,
        *,
        largest: int = 99,
        completes: bool = False,
        terse: bool = False,
        held_out_path: str | None = None,
    ) -> None:
        check_count("largest", largest, 9, 999)
        self._completes_text = completes
        super().__init__({"deduction": Addition(largest)}, terse, held_out_path, completes)

    def check(self) -> None:
        """See `TaskPack.check`."""
        super().check()
        if self._completes_text:
            raise PackUnavailableError("there is no model here that completes texts")
