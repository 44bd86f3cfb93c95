"""The forms of problems and answers: instructions and tags, or lines of a few characters."""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Sequence
from enum import StrEnum

from tasks.contract import Rejected, TaskRecord, Verdict
from tasks.kit.form import TERSE_REQUEST, Form, read_terse_answer, terse_answer
from tasks.kit.notation import DASHES
from tasks.kit.numbers import NumberError, read_first_number, read_last_number, read_number
from tasks.kit.parsing import last_line
from tasks.kit.payload import read_str
from tasks.kit.response import (
    MAX_CHARS,
    Tags,
    Unread,
    block,
    cut_answer,
    read_blocks,
    stop_strings,
    wrap,
)
from tasks.math_word import prompts
from tasks.math_word.records import NEXT_SHOT, SHOTS, Draft, Verify, read_expression, shot, shown_program
from tasks.math_word.stories import work_out

QUESTION, PROGRAM, CLAIM = "question", "python", "answer"
SOLUTIONS = {Verify.PROGRAM: PROGRAM, Verify.CLAIMED: CLAIM}
"""Block of a proposal that gives the solution; with `verify=majority` there is none."""

NAMES = {QUESTION: "question", PROGRAM: "program", CLAIM: "answer"}
"""What reasons call the blocks."""

MARK = "####"

STRICT_MARK = re.compile(rf"{MARK} (?=[-{DASHES}]?[0-9.,])")
"""As in lm-evaluation-harness's filter `strict-match`; its first match counts. A dash is a minus here."""


class Extraction(StrEnum):
    """Where a solver's number is looked for."""

    TAGS = "tags"  # Between the answer tags.
    STRICT = "strict"  # Behind the first `#### ` that a number follows, as in GSM8K's own answers.
    FLEXIBLE = "flexible"  # The last number of the response.


class ProblemForm(Form[Draft]):
    """What both forms share; an answer is a canonical number."""

    def __init__(self, verify: Verify) -> None:
        self._verify = verify

    @abstractmethod
    def _read_number(self, response: str) -> str:
        """The number that a response gives.

        Raises:
            NumberError: It gives none.
        """

    def read_answer(self, record: TaskRecord, response: str) -> str | Verdict:
        if SHOTS in record.payload:
            # A base model goes on with problems of its own.
            response = response.partition(NEXT_SHOT)[0]
        try:
            return self._read_number(response)
        except NumberError as error:
            return Verdict.malformed(str(error))

    def _solution(self, record: TaskRecord) -> str:
        """What a proposal of this record gives beside the question."""
        match self._verify:
            case Verify.PROGRAM:
                return shown_program(record)
            case Verify.CLAIMED:
                return read_str(record.payload, "answer")
            case Verify.MAJORITY:
                return ""


class TaggedForm(ProblemForm):
    """Prompts with instructions."""

    def __init__(self, tags: Tags, extraction: Extraction, verify: Verify, time_limit_s: float) -> None:
        super().__init__(verify)
        self._tags = tags
        self.stop_strings = stop_strings(tags)
        self._extraction = extraction
        self._time_limit_s = time_limit_s
        self._label = SOLUTIONS.get(verify)

    def request(self, kind: str, references: Sequence[TaskRecord]) -> str:
        rules = prompts.RULES[self._verify].format(seconds=f"{self._time_limit_s / 2:g}")
        parts = [prompts.REQUEST, rules]
        if references:
            shown = [f"Example {i}\n{self._shown(record)}" for i, record in enumerate(references, start=1)]
            parts.append(prompts.EXAMPLES.format(examples="\n\n".join(shown)))
        sketch = prompts.CLAIM_SKETCH if self._verify is Verify.CLAIMED else prompts.PROGRAM_SKETCH
        parts.append(self._reply(self._blocks(prompts.QUESTION_SKETCH, sketch)))
        return "\n\n".join(parts)

    def read_proposal(self, kind: str, response: str) -> Draft | Rejected:
        blocks = read_blocks(response, self._tags)
        if isinstance(blocks, Unread):
            return Rejected.malformed(blocks.reason)
        parts = []
        for label in filter(None, (QUESTION, self._label)):
            texts = [found.text for found in blocks if found.label == label]
            if len(texts) != 1:
                name = NAMES[label]
                return Rejected.malformed(f"several-{name}s" if texts else f"no-{name}")
            parts += texts
        return Draft(parts[0], "".join(parts[1:]))

    def proposal(self, record: TaskRecord) -> str:
        return wrap(self._shown(record), self._tags, prompts.GOLD_THOUGHT)

    def question(self, record: TaskRecord) -> str:
        """Behind solved problems nothing says how to answer, they show it."""
        if SHOTS in record.payload:
            return f"{read_str(record.payload, SHOTS)}\n\n{shot(read_str(record.payload, 'question'))}"
        if self._extraction is Extraction.TAGS:
            how = f"{prompts.ONE_NUMBER} {self._reply(prompts.NUMBER_SKETCH)}"
        else:
            how = {Extraction.STRICT: prompts.STRICT, Extraction.FLEXIBLE: prompts.FLEXIBLE}[self._extraction]
        return f"{prompts.PROBLEM}\n\n{read_str(record.payload, 'question')}\n\n{how}"

    def answer(self, record: TaskRecord) -> str:
        return self._wrap_answer(record, prompts.GOLD_THOUGHT)

    def worked_answer(self, record: TaskRecord) -> str:
        steps = [f"{step} = {value}" for step, value in _steps(record)]
        return self._wrap_answer(record, "\n".join(steps) or prompts.GOLD_THOUGHT)

    def _read_number(self, response: str) -> str:
        if self._extraction is Extraction.FLEXIBLE:
            return read_last_number(response)
        if self._extraction is Extraction.STRICT:
            mark = STRICT_MARK.search(response[:MAX_CHARS])
            if mark is None:
                raise NumberError("no-mark")
            return read_first_number(response[mark.end() :])
        answer = cut_answer(response, self._tags)
        if isinstance(answer, Unread):
            raise NumberError(answer.reason)
        return read_number(answer)

    def _wrap_answer(self, record: TaskRecord, thought: str) -> str:
        number = read_str(record.payload, "answer")
        if self._extraction is Extraction.STRICT:
            return f"{thought}\n{MARK} {number}"
        if self._extraction is Extraction.FLEXIBLE:
            return f"{thought}\nThe answer is {number}."
        return wrap(number, self._tags, thought)

    def _shown(self, record: TaskRecord) -> str:
        return self._blocks(read_str(record.payload, "question"), self._solution(record))

    def _blocks(self, question: str, solution: str) -> str:
        asked = block(QUESTION, question)
        return asked if self._label is None else f"{asked}\n{block(self._label, solution)}"

    def _reply(self, answer: str) -> str:
        return f"{prompts.REPLY}\n{wrap(answer, self._tags, prompts.THOUGHT)}"


class TerseForm(ProblemForm):
    """One short line each way: `Ann has 5 pens, buys 3. Pens?|5+3`, answered by `:8` or `(5+3=8):8`."""

    def request(self, kind: str, references: Sequence[TaskRecord]) -> str:
        return "\n".join([TERSE_REQUEST, *map(self.proposal, references)])

    def read_proposal(self, kind: str, response: str) -> Draft | Rejected:
        """The last line that is not blank, cut at its last `|`."""
        question, mark, solution = last_line(response).rpartition("|")
        if self._verify is Verify.MAJORITY:
            return Draft(question, "") if mark else Rejected.malformed("no-question")
        if not mark or not solution.strip():
            return Rejected.malformed(f"no-{NAMES[SOLUTIONS[self._verify]]}")
        if self._verify is Verify.PROGRAM and read_expression(solution) is None:
            # A function could not be shown in one line.
            return Rejected.malformed("no-program")
        return Draft(question, solution)

    def proposal(self, record: TaskRecord) -> str:
        """Only in plain arithmetic are blanks no part of the program."""
        solution = self._solution(record)
        return f"{self.question(record)}|{solution.replace(' ', '') if _steps(record) else solution}"

    def question(self, record: TaskRecord) -> str:
        """The bare question, in one line."""
        return " ".join(read_str(record.payload, "question").split())

    def answer(self, record: TaskRecord) -> str:
        return terse_answer(read_str(record.payload, "answer"))

    def worked_answer(self, record: TaskRecord) -> str:
        steps = [f"{step}={value}".replace(" ", "") for step, value in _steps(record)]
        return terse_answer(read_str(record.payload, "answer"), " ".join(steps))

    def _read_number(self, response: str) -> str:
        answer = read_terse_answer(response)
        if answer is None:
            raise NumberError("no-number")
        return read_number(answer)


def _steps(record: TaskRecord) -> list[tuple[str, int]]:
    """The steps of a program that is plain arithmetic; none where there is no such program."""
    return work_out(shown_program(record)) or [] if "program" in record.payload else []
