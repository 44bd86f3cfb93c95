"""Self-play of one request: plain asyncio over a `Generate` callable, without verl, Ray or torch.

An agent loop (`recipe/engine/agent_loop.py`) runs `propose_once` and `solve_once` with vLLM behind
`Generate`; a unit test runs them with a scripted model.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from recipe.selfplay.check_clock import CheckClock
from tasks.contract import (
    Accepted,
    CheckBrokenError,
    Message,
    Outcome,
    Rejected,
    Role,
    TaskPack,
    TaskRecord,
    Verdict,
)

logger = logging.getLogger(__name__)

DUPLICATE = "duplicate"
"""Reason for refusing a task that the buffer, or another proposal of the step, holds already."""

HELD_OUT = "held-out"
"""Reason for refusing a task of the evaluation set."""

TOO_LONG = "too-long"
"""Reason for refusing a task whose solver prompt does not fit the context: it can never be attempted."""

SURPLUS = "surplus"
"""Reason for refusing a task, valid and new, that came when its step had all that it wanted of the kind."""

Admit = Callable[[str, str], Awaitable[str]]
"""Asks for a kind's task to be taken by its key: "" when it is, else `DUPLICATE`, `HELD_OUT` or `SURPLUS`."""


class GenerationFailedError(RuntimeError):
    """A request got no response from the engine, retries included. Never a reward: the sample is left out."""


class PromptTooLongError(ValueError):
    """A prompt does not fit `data.max_prompt_length`, and was not sent."""


@dataclass(frozen=True, slots=True)
class Response:
    """One response of the model.

    Attributes:
        text: Decoded, without special tokens.
        tokens: What the caller of the engine needs to train on it (opaque here; None in unit tests).
    """

    text: str
    tokens: Any = None


class Generate(Protocol):
    """The model, seen from self-play."""

    async def __call__(self, messages: Sequence[Message], *, num_responses: int) -> list[Response]:
        """Sample `num_responses` independent responses; those whose request failed are left out.

        Raises:
            PromptTooLongError: The prompt does not fit.
        """
        ...


@dataclass(frozen=True, slots=True)
class Request:
    """One thing that is asked of the model in a wave.

    Attributes:
        index: Its place in the step, unique within it.
        role: Whether a task is proposed or `record` is solved.
        kind: A kind of the pack.
        messages: The chat prompt.
        references: The records shown in a proposer's prompt.
        record: The task to solve; None for a proposal.
        num_attempts: Attempts at an accepted proposal; 0 for a solve request, and while seeding unless the
            pack resolves tasks by them.
        step: The training step that a proposal is asked for in; 0 while seeding, and for a solve request.
    """

    index: int
    role: Role
    kind: str
    messages: list[Message]
    references: tuple[TaskRecord, ...] = ()
    record: TaskRecord | None = None
    num_attempts: int = 0
    step: int = 0

    def to_json(self) -> dict[str, Any]:
        """JSON values, for the trip to another process."""
        return {
            "index": self.index,
            "role": self.role.value,
            "kind": self.kind,
            "messages": self.messages,
            "references": [_record_to_json(record) for record in self.references],
            "record": None if self.record is None else _record_to_json(self.record),
            "num_attempts": self.num_attempts,
            "step": self.step,
        }

    @staticmethod
    def from_json(values: Mapping[str, Any]) -> Request:
        """The inverse of `to_json`."""
        record = values["record"]
        return Request(
            index=values["index"],
            role=Role(values["role"]),
            kind=values["kind"],
            messages=values["messages"],
            references=tuple(_record_from_json(item) for item in values["references"]),
            record=None if record is None else _record_from_json(record),
            num_attempts=values["num_attempts"],
            step=values["step"],
        )


@dataclass(frozen=True, slots=True)
class Attempt:
    """One response of the solver and what is true of it.

    Attributes:
        response: The model's text.
        outcome: MALFORMED, WRONG or CORRECT.
        reason: Why it is not correct; "" when it is.
        measures: What the pack measured of it, by name.
    """

    response: Response
    outcome: Outcome
    reason: str
    measures: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Proposal:
    """One response of the proposer and what is true of it.

    Attributes:
        response: The model's text.
        outcome: MALFORMED, WRONG or CORRECT.
        reason: Why it was refused; "" when it was accepted. `SURPLUS` is no fault: the outcome is CORRECT.
        record: The new task, when it was accepted.
        key: The pack's key of `record`; "" without one.
        messages: The solver's prompt for `record`, when it was attempted.
        attempts: The attempts that got a response.
        num_failed: Attempts that got none.
        features: What the pack measured of `record`, by name; empty without extra rewards.
    """

    response: Response
    outcome: Outcome
    reason: str
    record: TaskRecord | None
    key: str
    messages: list[Message]
    attempts: tuple[Attempt, ...]
    num_failed: int
    features: Mapping[str, float] = field(default_factory=dict)

    @property
    def solve_rate(self) -> float | None:
        """Share of correct attempts among those that got a response; None when there were none."""
        if not self.attempts:
            return None
        return sum(attempt.outcome is Outcome.CORRECT for attempt in self.attempts) / len(self.attempts)


async def judge_responses(
    pack: TaskPack, record: TaskRecord, responses: Sequence[Response], clock: CheckClock
) -> tuple[Attempt, ...]:
    """The attempts at `record` that these responses are, but for those that cannot be judged."""
    # A pack gives the same verdict for the same text, and attempts at one record often agree.
    texts = list(dict.fromkeys(response.text for response in responses))
    with clock.checking():
        judged = await asyncio.gather(*(_judge(pack, record, text) for text in texts))
    verdicts = dict(zip(texts, judged, strict=True))
    attempts = []
    for response in responses:
        verdict = verdicts[response.text]
        if verdict is not None:
            attempts.append(Attempt(response, verdict.outcome, verdict.reason, verdict.measures))
    return tuple(attempts)


async def _judge(pack: TaskPack, record: TaskRecord, response: str) -> Verdict | None:
    """The pack's verdict; None if what it checks with broke, which says nothing about the response."""
    try:
        return await pack.judge(record, response)
    except CheckBrokenError as error:
        logger.warning("an attempt is left out: %s", error)
        return None


async def propose_once(
    pack: TaskPack,
    request: Request,
    generate: Generate,
    admit: Admit,
    features: Sequence[str] = (),
    clock: CheckClock | None = None,
) -> Proposal:
    """Ask for one task, check it, and have it attempted at once if it is accepted.

    Args:
        pack: The domain.
        request: What to ask.
        generate: The model.
        admit: Says whether a task may be taken.
        features: What to measure of an accepted task; names of `pack.feature_names`.
        clock: Told of every check.

    Raises:
        GenerationFailedError: The engine gave no response to the proposer's prompt, or too few attempts to
            resolve the task by.
    """
    responses = await generate(request.messages, num_responses=1)
    if not responses:
        raise GenerationFailedError(f"no proposal for request {request.index} ({request.kind})")
    response = responses[0]
    clock = clock or CheckClock()
    with clock.checking():
        checked = await pack.accept(request.kind, response.text, request.references, step=request.step)
    if not isinstance(checked, Accepted):
        return Proposal(response, checked.outcome, checked.reason, None, "", [], (), 0)
    record = checked.record
    key = pack.task_key(record)
    refusal = await admit(request.kind, key)
    if refusal:
        outcome = Outcome.CORRECT if refusal == SURPLUS else Outcome.WRONG
        return Proposal(response, outcome, refusal, None, key, [], (), 0)
    messages = pack.solve_prompt(record)
    try:
        # While seeding, with no attempts, this only finds out whether the prompt fits.
        responses = await generate(messages, num_responses=request.num_attempts)
    except PromptTooLongError:
        return Proposal(response, Outcome.WRONG, TOO_LONG, None, key, [], (), 0)
    if pack.resolves:
        resolved = await _resolve(pack, record, responses, request, clock)
        if isinstance(resolved, Rejected):
            return Proposal(response, resolved.outcome, resolved.reason, None, key, [], (), 0)
        record = resolved.record
    attempts = await judge_responses(pack, record, responses, clock)
    num_failed = request.num_attempts - len(attempts)
    measured: dict[str, float] = {}
    if features:
        with clock.checking():
            # In a thread: other responses are waiting for the event loop.
            measured = await asyncio.to_thread(pack.features, record, request.references, features)
    return Proposal(response, Outcome.CORRECT, "", record, key, messages, attempts, num_failed, measured)


async def _resolve(
    pack: TaskPack, record: TaskRecord, responses: Sequence[Response], request: Request, clock: CheckClock
) -> Accepted | Rejected:
    """Have the attempts at an accepted record decide what becomes of it.

    Raises:
        GenerationFailedError: They refuse it, and some never came: those might have decided otherwise.
    """
    with clock.checking():
        resolved = await pack.resolve(record, [response.text for response in responses])
    if isinstance(resolved, Rejected) and len(responses) < request.num_attempts:
        raise GenerationFailedError(
            f"{len(responses)} of {request.num_attempts} attempts do not resolve request {request.index} "
            f"({request.kind}): {resolved.reason}"
        )
    return resolved


async def solve_once(
    pack: TaskPack, request: Request, generate: Generate, clock: CheckClock | None = None
) -> Attempt:
    """Ask for one attempt at the request's record, and tell `clock` of its check.

    Raises:
        GenerationFailedError: The engine gave no response.
    """
    attempts = await _attempt_request(pack, request, generate, 1, clock or CheckClock())
    return attempts[0]


async def sample_accuracy(pack: TaskPack, request: Request, generate: Generate, count: int) -> float:
    """Share of correct attempts, in [0, 1], of `count` at the request's record, failed ones left out.

    Raises:
        GenerationFailedError: The engine gave no response at all.
    """
    attempts = await _attempt_request(pack, request, generate, count, CheckClock())
    return sum(attempt.outcome is Outcome.CORRECT for attempt in attempts) / len(attempts)


async def _attempt_request(
    pack: TaskPack, request: Request, generate: Generate, count: int, clock: CheckClock
) -> tuple[Attempt, ...]:
    """The attempts that came back, at least one."""
    if request.record is None:
        raise ValueError(f"request {request.index} has no record to solve")
    responses = await generate(request.messages, num_responses=count)
    attempts = await judge_responses(pack, request.record, responses, clock)
    if not attempts:
        raise GenerationFailedError(f"no attempt for request {request.index} ({request.kind})")
    return attempts


def _record_to_json(record: TaskRecord) -> dict[str, Any]:
    return {"kind": record.kind, "payload": dict(record.payload)}


def _record_from_json(values: Mapping[str, Any]) -> TaskRecord:
    return TaskRecord(values["kind"], values["payload"])
