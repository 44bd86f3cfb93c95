"""The form for language models: prompts with instructions, responses with tags and fenced blocks."""

from __future__ import annotations

from collections.abc import Sequence

from tasks.contract import Rejected, TaskRecord, Verdict
from tasks.kit.payload import read_str
from tasks.kit.response import Block, Tags, Unread, block, read_blocks, wrap
from tasks.python_code import prompts
from tasks.python_code.form import Form, malformed, stored_answer, unanswered
from tasks.python_code.records import (
    ABDUCTION,
    DEDUCTION,
    ERROR,
    INDUCTION,
    Draft,
    read_examples,
    read_program,
    to_draft,
)

PROGRAM, INPUT, OUTPUT, MESSAGE, ERROR_NAME = "python", "input", "output", "message", "error"
ANSWER_LABELS = {DEDUCTION: OUTPUT, ABDUCTION: INPUT, INDUCTION: PROGRAM, ERROR: ERROR_NAME}
GOLD_THOUGHT = "The answer is known."


class TaggedForm(Form):
    """Fenced blocks inside tags.

    Args:
        tags: What a response is wrapped in.
        num_inputs: Inputs of an induction task.
        max_program_chars: Longest program, for the prompts; so are the next two.
        max_literal_chars: Longest input and output.
        time_limit_s: CPU seconds of an attempt's run.
    """

    def __init__(
        self, tags: Tags, num_inputs: int, max_program_chars: int, max_literal_chars: int, time_limit_s: float
    ) -> None:
        self.num_inputs = num_inputs
        self._tags = tags
        self._rules = prompts.RULES.format(
            seconds=f"{time_limit_s / 2:g}", program_chars=max_program_chars, literal_chars=max_literal_chars
        )

    def request(self, kind: str, references: Sequence[TaskRecord], given: str) -> str:
        """See `Form.request`."""
        if kind == INDUCTION:
            program = block(PROGRAM, read_program(references[0]))
            body = block(INPUT, "<arguments>")
            reply = "\n".join([*[body] * self.num_inputs, block(MESSAGE, "<message>")])
            task = prompts.INDUCTION_REQUEST.format(num_inputs=self.num_inputs, program=program)
            return f"{task}\n\n{self._reply(reply)}"
        parts = [prompts.REQUESTS[kind], self._rules]
        if given:
            parts.append(prompts.COMPOSITE.format(given=block(PROGRAM, given)))
        if references:
            parts.append(prompts.EXAMPLES.format(examples=_examples(references)))
        parts.append(self._reply(f"{block(PROGRAM, prompts.PROGRAM_SKETCH)}\n{block(INPUT, '<arguments>')}"))
        return "\n\n".join(parts)

    def read_proposal(self, kind: str, response: str) -> Draft | Rejected:
        """See `Form.read_proposal`."""
        blocks = read_blocks(response, self._tags)
        if isinstance(blocks, Unread):
            return malformed(blocks.reason)
        programs, inputs = _texts(blocks, PROGRAM), _texts(blocks, INPUT)
        if len(programs) > 1:
            return malformed("several-programs")
        program = programs[0] if programs else ""
        if kind == INDUCTION:
            messages = _texts(blocks, MESSAGE)
            if len(messages) != 1:
                return malformed("several-messages" if messages else "no-message")
            if len(inputs) != self.num_inputs:
                return malformed("number-of-inputs")
            return Draft(program, tuple(inputs), messages[0])
        if not programs:
            return malformed("no-program")
        if len(inputs) != 1:
            return malformed("several-inputs" if inputs else "no-input")
        return Draft(program, (inputs[0],))

    def proposal(self, record: TaskRecord) -> str:
        """See `Form.proposal`."""
        draft = to_draft(record)
        parts = [block(PROGRAM, draft.program), *(block(INPUT, text) for text in draft.inputs)]
        if record.kind == INDUCTION:
            parts.append(block(MESSAGE, draft.message))
        return wrap("\n".join(parts), self._tags, GOLD_THOUGHT)

    def question(self, record: TaskRecord) -> str:
        """See `Form.question`."""
        payload = record.payload
        answer = self._reply(block(ANSWER_LABELS[record.kind], prompts.ANSWER_SKETCHES[record.kind]))
        if record.kind == INDUCTION:
            shown, _ = read_examples(payload)
            pairs = [f"{block(INPUT, each.input)}\n{block(OUTPUT, each.output)}" for each in shown]
            task = prompts.INDUCTION_QUESTION.format(
                message=block(MESSAGE, read_str(payload, "message")), examples="\n".join(pairs)
            )
            return f"{task}\n\n{answer}"
        known = block(PROGRAM, read_program(record)) + "\n"
        if record.kind == ABDUCTION:
            known += block(OUTPUT, read_str(payload, "output"))
        else:
            known += block(INPUT, read_str(payload, "input"))
        return f"{prompts.QUESTIONS[record.kind]}\n\n{known}\n\n{answer}"

    def read_answer(self, kind: str, response: str) -> str | Verdict:
        """See `Form.read_answer`; of several blocks the last one counts."""
        blocks = read_blocks(response, self._tags)
        if isinstance(blocks, Unread):
            return unanswered(blocks.reason)
        texts = _texts(blocks, ANSWER_LABELS[kind])
        return texts[-1] if texts else unanswered("no-answer")

    def answer(self, record: TaskRecord) -> str:
        """See `Form.answer`."""
        return self._wrap_answer(record, GOLD_THOUGHT)

    def worked_answer(self, record: TaskRecord) -> str:
        """See `Form.worked_answer`; no working is made up for programs at large."""
        return self._wrap_answer(record, GOLD_THOUGHT)

    def _wrap_answer(self, record: TaskRecord, thought: str) -> str:
        return wrap(block(ANSWER_LABELS[record.kind], stored_answer(record)), self._tags, thought)

    def _reply(self, answer: str) -> str:
        return f"{prompts.REPLY}\n{wrap(answer, self._tags, prompts.THOUGHT)}"


def _examples(references: Sequence[TaskRecord]) -> str:
    """Earlier programs as they are shown to a proposer, each with what is known about it."""
    shown = []
    for number, record in enumerate(references, start=1):
        draft = to_draft(record)
        result = OUTPUT if "output" in record.payload else ERROR_NAME
        parts = [block(PROGRAM, draft.program), block(INPUT, draft.inputs[0])]
        shown.append(
            "\n".join([f"Example {number}", *parts, block(result, read_str(record.payload, result))])
        )
    return "\n\n".join(shown)


def _texts(blocks: Sequence[Block], label: str) -> list[str]:
    return [found.text for found in blocks if found.label == label]
