"""Facts that travel from an agent loop to the trainer."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from recipe.selfplay.facts import attempt_from_json, attempt_to_json, proposal_from_json, proposal_to_json
from recipe.selfplay.rollout import Attempt, Proposal, Response
from tasks.contract import Outcome, TaskRecord

TEXT = st.text(st.characters(codec=None), max_size=10)
NUMBERS = st.dictionaries(st.text(max_size=5), st.floats(allow_nan=False, allow_infinity=False), max_size=2)
RECORDS = st.builds(TaskRecord, st.text(max_size=5), st.dictionaries(st.text(max_size=5), TEXT, max_size=2))
ATTEMPTS = st.builds(Attempt, st.builds(Response, TEXT), st.sampled_from(Outcome), TEXT, NUMBERS)
MESSAGES = st.lists(st.fixed_dictionaries({"role": st.text(max_size=5), "content": TEXT}), max_size=2)


@given(ATTEMPTS)
def test_attempt_survives_the_trip_to_the_trainer(attempt: Attempt) -> None:
    assert attempt_from_json(json.loads(json.dumps(attempt_to_json(attempt)))) == attempt


@given(
    st.builds(
        Proposal,
        response=st.builds(Response, TEXT),
        outcome=st.sampled_from(Outcome),
        reason=TEXT,
        record=st.none() | RECORDS,
        key=TEXT,
        messages=MESSAGES,
        attempts=st.lists(ATTEMPTS, max_size=2).map(tuple),
        num_failed=st.integers(0),
        features=NUMBERS,
    )
)
def test_proposal_survives_the_trip_to_the_trainer(proposal: Proposal) -> None:
    assert proposal_from_json(json.loads(json.dumps(proposal_to_json(proposal)))) == proposal


def test_tokens_stay_behind() -> None:
    attempt = Attempt(Response("7", tokens=object()), Outcome.CORRECT, "")
    assert attempt_from_json(attempt_to_json(attempt)) == Attempt(Response("7"), Outcome.CORRECT, "")
