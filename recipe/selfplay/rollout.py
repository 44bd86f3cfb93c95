"""Self-play of one request: plain asyncio over a `Generate` callable, without verl, Ray or torch.

An agent loop (`recipe/engine/agent_loop.py`) runs `propose_once` and `solve` with vLLM behind
`Generate`; a unit test runs them with a scripted model.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from typing import Protocol

from recipe.selfplay.types import Attempt, Proposal, Refusal, Request, Response
from tasks.contract import (
    Accepted,
    CheckBrokenError,
    Message,
    Outcome,
    Rejected,
    TaskPack,
    TaskRecord,
    Verdict,
)

logger = logging.getLogger(__name__)

Claim = Callable[[str, str], Awaitable[Refusal | None]]
"""Asks for a task of a kind by the pack's key of it: None when it is this proposal's now, else why not."""


class GenerationFailedError(RuntimeError):
    """A request got no response from the engine, retries included. Never a reward: the sample is left out."""


class PromptTooLongError(ValueError):
    """A prompt does not fit `data.max_prompt_length`, and was not sent."""


class Generate(Protocol):
    """The model, seen from self-play."""

    async def __call__(self, messages: Sequence[Message], *, num_responses: int) -> list[Response]:
        """Sample independent responses, without those that failed.

        With 0 of them nothing is sampled, and one learns whether the prompt fits.

        Raises:
            PromptTooLongError: It does not.
        """


class CheckClock:
    """How long a step waits for checks alone: for the sandbox, say, while no response is being generated.

    Checks run while other responses are generated, so their own durations say nothing of what they cost a
    step. One event loop, no threads. `now` gives the seconds of a clock that never goes back.
    """

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._num_generating = 0
        self._num_checking = 0
        self._changed_at = now()
        self._waited_s = 0.0

    def generating(self) -> AbstractContextManager[None]:
        """Around a request to the model."""
        return self._during(generating=1)

    def checking(self) -> AbstractContextManager[None]:
        """Around a check of a proposal or an attempt."""
        return self._during(checking=1)

    def take(self) -> float:
        """Seconds since the last call."""
        self._change()
        taken, self._waited_s = self._waited_s, 0.0
        return taken

    @contextmanager
    def _during(self, generating: int = 0, checking: int = 0) -> Iterator[None]:
        self._change(generating, checking)
        try:
            yield
        finally:
            self._change(-generating, -checking)

    def _change(self, generating: int = 0, checking: int = 0) -> None:
        now = self._now()
        if self._num_checking and not self._num_generating:
            self._waited_s += now - self._changed_at
        self._changed_at = now
        self._num_generating += generating
        self._num_checking += checking


async def judge_responses(
    pack: TaskPack, record: TaskRecord, responses: Sequence[Response], clock: CheckClock
) -> tuple[Attempt, ...]:
    """The attempts at `record` that these responses are, but for those that cannot be judged."""

    async def judge(text: str) -> Verdict | None:
        try:
            return await pack.judge(record, text)
        except CheckBrokenError as error:  # of what it checks with: it says nothing about the response
            logger.warning("an attempt is left out: %s", error)
            return None

    # A pack gives the same verdict for the same text, and attempts at one record often agree.
    texts = list(dict.fromkeys(response.text for response in responses))
    with clock.checking():
        judged = await asyncio.gather(*map(judge, texts))
    verdicts = dict(zip(texts, judged, strict=True))
    return tuple(
        Attempt(response, verdict.outcome, verdict.reason, verdict.measures)
        for response in responses
        if (verdict := verdicts[response.text]) is not None
    )


async def propose_once(
    pack: TaskPack,
    request: Request,
    generate: Generate,
    claim: Claim,
    features: Sequence[str] = (),
    clock: CheckClock | None = None,
) -> Proposal:
    """Ask for one task, check it, and have it attempted at once if it is accepted.

    `features` are what to measure of an accepted task, names of `pack.feature_names`.

    Raises:
        GenerationFailedError: The engine gave no response to the proposer's prompt, or too few attempts to
            resolve the task by.
        PromptTooLongError: The proposer's prompt does not fit without any references either.
    """
    asked, responses = await _ask_for_task(pack, request, generate)
    if not responses:
        raise GenerationFailedError(f"no proposal for request {request.index} ({request.kind})")
    clock = clock or CheckClock()
    proposal = await _check_proposal(pack, asked, responses[0], generate, claim, features, clock)
    return replace(proposal, num_dropped=len(request.references) - len(asked.references))


def with_fewer_references(pack: TaskPack, request: Request, num_dropped: int) -> Request:
    """A proposer's request without its last `num_dropped` references."""
    if not num_dropped:
        return request
    references = request.references[:-num_dropped]
    # What a prompt leaves to chance follows from the one that was drawn: whoever asks writes the same.
    rng = random.Random(f"{num_dropped} {request.messages}")
    messages = pack.propose_prompt(request.kind, references, rng, step=request.step)
    return replace(request, messages=messages, references=references)


async def _ask_for_task(
    pack: TaskPack, request: Request, generate: Generate
) -> tuple[Request, list[Response]]:
    """The request with as many of its references as fit, and what came back."""
    for num_dropped in range(len(request.references)):
        asked = with_fewer_references(pack, request, num_dropped)
        try:
            return asked, await generate(asked.messages, num_responses=1)
        except PromptTooLongError:
            continue
    asked = with_fewer_references(pack, request, len(request.references))
    return asked, await generate(asked.messages, num_responses=1)


async def _check_proposal(
    pack: TaskPack,
    request: Request,
    response: Response,
    generate: Generate,
    claim: Claim,
    features: Sequence[str],
    clock: CheckClock,
) -> Proposal:
    """Find out whether a response is a task that is taken, and have it attempted if it is."""
    with clock.checking():
        checked = await pack.accept(request.kind, response.text, request.references, step=request.step)
    if not isinstance(checked, Accepted):
        return Proposal.rejected(response, checked)
    record = checked.record
    messages = pack.solve_prompt(record)
    try:
        # Before the claim: a task that cannot be attempted takes nobody's place.
        await generate(messages, num_responses=0)
    except PromptTooLongError:
        return Proposal.refused(response, Refusal.TOO_LONG)
    key = pack.task_key(record)
    refusal = await claim(request.kind, key)
    if refusal is not None:
        return Proposal.refused(response, refusal)
    responses = await generate(messages, num_responses=request.num_attempts)
    if pack.resolves:
        with clock.checking():
            resolved = await pack.resolve(record, [response.text for response in responses])
        if isinstance(resolved, Rejected):
            if len(responses) < request.num_attempts:  # those that never came might have decided otherwise
                raise GenerationFailedError(
                    f"{len(responses)} of {request.num_attempts} attempts do not resolve request "
                    f"{request.index} ({request.kind}): {resolved.reason}"
                )
            return Proposal.rejected(response, resolved)
        record = resolved.record
    attempts = await judge_responses(pack, record, responses, clock)
    num_failed = request.num_attempts - len(attempts)
    measured: dict[str, float] = {}
    if features:
        with clock.checking():
            # In a thread: other responses are waiting for the event loop.
            measured = await asyncio.to_thread(pack.features, record, request.references, features)
    return Proposal(response, Outcome.CORRECT, "", record, key, messages, attempts, num_failed, measured)


async def solve(
    pack: TaskPack, request: Request, generate: Generate, count: int = 1, clock: CheckClock | None = None
) -> tuple[Attempt, ...]:
    """Ask for `count` attempts at the request's record; those that came back, at least one.

    Raises:
        GenerationFailedError: None came back.
    """
    if request.record is None:
        raise ValueError(f"request {request.index} has no record to solve")
    responses = await generate(request.messages, num_responses=count)
    attempts = await judge_responses(pack, request.record, responses, clock or CheckClock())
    if not attempts:
        raise GenerationFailedError(f"no attempt for request {request.index} ({request.kind})")
    return attempts
