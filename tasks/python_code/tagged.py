"""The form for language models: prompts with instructions, responses with tags and fenced blocks."""

from __future__ import annotations

from collections.abc import Sequence

from tasks.contract import Rejected, TaskRecord, Verdict
from tasks.kit.form import Form
from tasks.kit.response import Block, Tags, Unread, block, read_blocks, stop_strings, wrap
from tasks.python_code import prompts
from tasks.python_code.knobs import PythonCodeKnobs
from tasks.python_code.records import ABDUCTION, DEDUCTION, ERROR, INDUCTION, Draft, Task, output_label

PROGRAM, INPUT, OUTPUT, MESSAGE = "python", "input", "output", "message"
ANSWER_LABELS = {DEDUCTION: OUTPUT, ABDUCTION: INPUT, INDUCTION: PROGRAM, ERROR: "error"}


class TaggedForm(Form[Draft]):
    """Fenced blocks inside tags; tags, sizes and times are those of `knobs`."""

    def __init__(self, knobs: PythonCodeKnobs) -> None:
        self.num_inputs = knobs.num_inputs
        self._tags = Tags(knobs.tags)
        self.stop_strings = stop_strings(self._tags)
        self._rules = prompts.RULES.format(
            seconds=f"{knobs.time_limit_s / 2:g}",
            program_chars=knobs.max_program_chars,
            literal_chars=knobs.max_literal_chars,
        )

    def request(self, kind: str, references: Sequence[TaskRecord], given: str = "") -> str:
        """A proposer's prompt; `given` defines the functions that its program has to call."""
        if kind == INDUCTION:
            program = block(PROGRAM, Task.read(references[0]).program)
            inputs = [block(INPUT, "<arguments>")] * self.num_inputs
            request = prompts.INDUCTION_REQUEST.format(num_inputs=self.num_inputs, program=program)
            reply = self._reply("\n".join([*inputs, block(MESSAGE, "<message>")]))
            return f"{request}\n\n{reply}"
        parts = [prompts.REQUESTS[kind], self._rules]
        if given:
            parts.append(prompts.COMPOSITE.format(given=block(PROGRAM, given)))
        if references:
            examples = []
            for number, task in enumerate(map(Task.read, references), start=1):
                result = block(output_label(task.kind), task.output)
                shown = [f"Example {number}", block(PROGRAM, task.program), block(INPUT, task.input), result]
                examples.append("\n".join(shown))
            parts.append(prompts.EXAMPLES.format(examples="\n\n".join(examples)))
        parts.append(self._reply(f"{block(PROGRAM, prompts.PROGRAM_SKETCH)}\n{block(INPUT, '<arguments>')}"))
        return "\n\n".join(parts)

    def read_proposal(self, kind: str, response: str) -> Draft | Rejected:
        blocks = read_blocks(response, self._tags)
        if isinstance(blocks, Unread):
            return Rejected.malformed(blocks.reason)
        programs, inputs, messages = (_texts(blocks, label) for label in (PROGRAM, INPUT, MESSAGE))
        if len(programs) > 1:
            return Rejected.malformed("several-programs")
        if kind == INDUCTION:
            if len(messages) != 1:
                return Rejected.malformed("several-messages" if messages else "no-message")
            if len(inputs) != self.num_inputs:
                return Rejected.malformed("number-of-inputs")
            return Draft("".join(programs), tuple(inputs), messages[0])
        if not programs:
            return Rejected.malformed("no-program")
        if len(inputs) != 1:
            return Rejected.malformed("several-inputs" if inputs else "no-input")
        return Draft(programs[0], tuple(inputs))

    def proposal(self, record: TaskRecord) -> str:
        task = Task.read(record)
        parts = [block(PROGRAM, task.program), *(block(INPUT, each.input) for each in task.examples)]
        if task.kind == INDUCTION:
            parts.append(block(MESSAGE, task.message))
        return wrap("\n".join(parts), self._tags, prompts.GOLD_THOUGHT)

    def question(self, record: TaskRecord) -> str:
        task = Task.read(record)
        if task.kind == INDUCTION:
            pairs = [f"{block(INPUT, each.input)}\n{block(OUTPUT, each.output)}" for each in task.shown]
            asked = prompts.INDUCTION_QUESTION.format(
                message=block(MESSAGE, task.message), examples="\n".join(pairs)
            )
        else:
            known = block(OUTPUT, task.output) if task.kind == ABDUCTION else block(INPUT, task.input)
            asked = f"{prompts.QUESTIONS[task.kind]}\n\n{block(PROGRAM, task.program)}\n{known}"
        return (
            f"{asked}\n\n{self._reply(block(ANSWER_LABELS[task.kind], prompts.ANSWER_SKETCHES[task.kind]))}"
        )

    def read_answer(self, record: TaskRecord, response: str) -> str | Verdict:
        """Read one attempt; of several blocks the last one counts."""
        blocks = read_blocks(response, self._tags)
        if isinstance(blocks, Unread):
            return Verdict.malformed(blocks.reason)
        texts = _texts(blocks, ANSWER_LABELS[record.kind])
        return texts[-1] if texts else Verdict.malformed("no-answer")

    def answer(self, record: TaskRecord) -> str:
        answer = block(ANSWER_LABELS[record.kind], Task.read(record).answer)
        return wrap(answer, self._tags, prompts.GOLD_THOUGHT)

    def _reply(self, answer: str) -> str:
        return f"{prompts.REPLY}\n{wrap(answer, self._tags, prompts.THOUGHT)}"


def _texts(blocks: Sequence[Block], label: str) -> list[str]:
    return [found.text for found in blocks if found.label == label]
