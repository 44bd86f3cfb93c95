"""Requests and results survive their trips between processes."""

from __future__ import annotations

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from recipe.selfplay.types import Attempt, Proposal, Request, Response
from tasks.contract import Outcome, Role, TaskRecord

TEXT = st.text(st.characters(codec=None), max_size=10)
NUMBERS = st.dictionaries(st.text(max_size=5), st.floats(allow_nan=False, allow_infinity=False), max_size=2)
RECORDS = st.builds(TaskRecord, st.text(max_size=5), st.dictionaries(st.text(max_size=5), TEXT, max_size=2))
ATTEMPTS = st.builds(Attempt, st.builds(Response, TEXT), st.sampled_from(Outcome), TEXT, NUMBERS)
MESSAGES = st.lists(st.fixed_dictionaries({"role": st.text(max_size=5), "content": TEXT}), max_size=2)


@given(ATTEMPTS)
def test_attempt_survives_the_trip_to_the_trainer(attempt: Attempt) -> None:
    assert Attempt.from_json(attempt.to_json()) == attempt


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
        num_dropped=st.integers(0),
    )
)
def test_proposal_survives_the_trip_to_the_trainer(proposal: Proposal) -> None:
    assert Proposal.from_json(proposal.to_json()) == proposal


def test_tokens_stay_behind() -> None:
    attempt = Attempt(Response("7", tokens=object()), Outcome.CORRECT, "")
    assert Attempt.from_json(attempt.to_json()) == Attempt(Response("7"), Outcome.CORRECT, "")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(TEXT, inner, max_size=2),
    max_leaves=3,
)
ANY_RECORDS = st.builds(TaskRecord, st.text(), st.dictionaries(st.text(), JSON, max_size=3))
MESSAGE = st.fixed_dictionaries({"role": st.text(), "content": st.text(st.characters(codec=None))})


@settings(suppress_health_check=[HealthCheck.too_slow])  # of a machine that does other things as well
@given(
    st.builds(
        Request,
        index=st.integers(0),
        role=st.sampled_from(Role),
        kind=st.text(),
        messages=st.lists(MESSAGE, max_size=2),
        references=st.lists(ANY_RECORDS, max_size=2).map(tuple),
        record=st.none() | ANY_RECORDS,
        num_attempts=st.integers(0),
        step=st.integers(0),
    )
)
def test_request_survives_the_trip_to_another_process(request: Request) -> None:
    again = Request.from_json(request.to_json())
    assert again == request
    assert isinstance(again.role, Role)
