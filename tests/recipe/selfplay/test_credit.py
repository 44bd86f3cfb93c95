"""The uid spells where a row comes from, and comes back as it went in."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recipe.selfplay.credit import Origin, make_uid, parse_uid
from tasks.contract import Role

KINDS = st.text("abcdefghijklmnopqrstuvwxyz0123456789-", min_size=1)
# Labels that look like the digits of a uid are labels all the same.
LABELS = st.just("") | KINDS | st.text("0123456789abcdef", min_size=32, max_size=32)
FOREIGN = [
    "",
    "pad0123456789abcdef0123456789abcdef",
    "5f0c2a9e-8f9d-4c51-9a43-3d5b2d8b2f11",
    "propose.deduction",
    "propose.deduction.",
    "propose.deduction.0123456789abcdef",
    "propose..0123456789abcdef0123456789abcdef",
    "judge.deduction.0123456789abcdef0123456789abcdef",
    "propose.Deduction.0123456789abcdef0123456789abcdef",
    "propose.two.more.words.0123456789abcdef0123456789abcdef",
    "propose.deduction..0123456789abcdef0123456789abcdef",
    "propose.deduction.Easy.0123456789abcdef0123456789abcdef",
    "propose.deduction.0123456789abcdef0123456789abcdef\n",
    "propose.deduction.0123456789abcdef0123456789abcdef_0_0",
]


@given(st.sampled_from(Role), KINDS, LABELS)
def test_uid_round_trips_without_an_underscore(role: Role, kind: str, difficulty: str) -> None:
    uid = make_uid(role, kind, difficulty)
    assert "_" not in uid
    assert parse_uid(uid) == Origin(role=role, kind=kind, difficulty=difficulty)


def test_uid_starts_with_its_origin() -> None:
    assert re.fullmatch("propose.deduction.[0-9a-f]{32}", make_uid("propose", "deduction"))
    assert re.fullmatch("solve.deduction.easy.[0-9a-f]{32}", make_uid("solve", "deduction", "easy"))


@given(st.sampled_from(Role), KINDS, st.integers(0, 99), st.integers(0, 9))
def test_uid_survives_verls_row_keys(role: Role, kind: str, session: int, index: int) -> None:
    # verl cuts a row's key both ways: at the first underscore, and at the last two.
    uid = make_uid(role, kind)
    key = f"{uid}_{session}_{index}"
    assert key.split("_")[0] == uid
    assert key.rsplit("_", 2)[0] == uid


def test_uids_of_one_cell_differ() -> None:
    assert len({make_uid("solve", "abduction") for _ in range(1000)}) == 1000


@pytest.mark.parametrize("kind", ["", "two_words", "Deduction", "two words", "a.b", "naïve", "٣", "kind\n"])
def test_kind_of_other_characters_is_refused(kind: str) -> None:
    with pytest.raises(ValueError) as error:
        make_uid("propose", kind)
    assert repr(kind) in str(error.value)


@pytest.mark.parametrize("difficulty", ["very_hard", "Easy", "very hard", "1.5", "easy\n"])
def test_difficulty_of_other_characters_is_refused(difficulty: str) -> None:
    with pytest.raises(ValueError, match="difficulty must be lower case") as error:
        make_uid("propose", "deduction", difficulty)
    assert repr(difficulty) in str(error.value)


@pytest.mark.parametrize("role", ["", "judge", "PROPOSE", "pro_pose"])
def test_role_that_is_none_is_refused(role: str) -> None:
    with pytest.raises(ValueError, match="role must be one of propose, solve") as error:
        make_uid(role, "deduction")
    assert repr(role) in str(error.value)


@pytest.mark.parametrize("uid", FOREIGN)
def test_foreign_uid_is_refused_and_shown(uid: str) -> None:
    with pytest.raises(ValueError) as error:
        parse_uid(uid)
    assert repr(uid) in str(error.value)


def test_parsed_role_is_a_role() -> None:
    assert isinstance(parse_uid(make_uid("solve", "abduction")).role, Role)
