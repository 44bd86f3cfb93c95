"""What is true of responses as JSON values: their trip from an agent loop to the trainer.

Tokens stay behind; verl carries them itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from recipe.selfplay.rollout import Attempt, Proposal, Response
from tasks.contract import Outcome, TaskRecord


def proposal_to_json(proposal: Proposal) -> dict[str, Any]:
    """A proposal's facts as JSON values; tokens stay behind."""
    record = proposal.record
    return {
        "response": proposal.response.text,
        "outcome": proposal.outcome.value,
        "reason": proposal.reason,
        "record": None if record is None else {"kind": record.kind, "payload": dict(record.payload)},
        "key": proposal.key,
        "messages": proposal.messages,
        "attempts": [attempt_to_json(attempt) for attempt in proposal.attempts],
        "num_failed": proposal.num_failed,
        "features": dict(proposal.features),
    }


def attempt_to_json(attempt: Attempt) -> dict[str, Any]:
    """An attempt's facts as JSON values; tokens stay behind."""
    return {
        "response": attempt.response.text,
        "outcome": attempt.outcome.value,
        "reason": attempt.reason,
        "measures": dict(attempt.measures),
    }


def proposal_from_json(facts: Mapping[str, Any]) -> Proposal:
    """The inverse of `proposal_to_json`, without tokens."""
    record = facts["record"]
    return Proposal(
        response=Response(facts["response"]),
        outcome=Outcome(facts["outcome"]),
        reason=facts["reason"],
        record=None if record is None else TaskRecord(record["kind"], record["payload"]),
        key=facts["key"],
        messages=facts["messages"],
        attempts=tuple(attempt_from_json(attempt) for attempt in facts["attempts"]),
        num_failed=facts["num_failed"],
        features=facts["features"],
    )


def attempt_from_json(facts: Mapping[str, Any]) -> Attempt:
    """The inverse of `attempt_to_json`, without tokens."""
    return Attempt(Response(facts["response"]), Outcome(facts["outcome"]), facts["reason"], facts["measures"])
