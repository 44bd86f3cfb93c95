"""Numbers in answers: which are the same."""

from __future__ import annotations

import re
import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.kit.numbers import NumberError, read_last_number, read_number
from tasks.math_word.number import equal

ARABIC_FIVE = "\N{ARABIC-INDIC DIGIT FIVE}"
CANONICAL = re.compile(r"-?(0|[1-9][0-9]*)?(\.[0-9]+|/[1-9][0-9]*)?%?")


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ("5", "5.0"), ("1/2", "0.5"), ("2/4", "1/2"), ("1/3", "0.333333"), ("1/3", "0.3333333333"),
        ("50%", "50"), ("50%", "0.5"), ("50%", "1/2"), ("12.5%", "12.5"), ("12.5%", "0.125"), ("50%", "50%"),
        ("0", "-0"), ("0.30000000000000004", "0.3"), ("100000000000000", "100000000000000.0"),
    ],
)  # fmt: skip
def test_the_same_number_in_another_form_is_equal(left: str, right: str) -> None:
    assert equal(left, right) and equal(right, left)


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ("5", "6"), ("5", "-5"), ("1/3", "0.3333"), ("2", "1.9999"), ("50%", "5000%"), ("50%", "5"),
        ("100000000000000", "100000000000001"), ("1/3", "1/4"), ("0.1", "0.10001"), ("50%", "0.5%"),
    ],
)  # fmt: skip
def test_other_numbers_are_not(left: str, right: str) -> None:
    assert not equal(left, right) and not equal(right, left)


@settings(deadline=None)
@given(st.integers(-(10**15), 10**15), st.integers(-(10**15), 10**15))
def test_integers_are_equal_if_they_are(left: int, right: int) -> None:
    assert equal(str(left), str(left))
    assert equal(str(left), str(right)) == (left == right)


@settings(deadline=None)
@given(st.text(alphabet="0123456789.,/%$+-e xX*^(){}\\=" + ARABIC_FIVE, max_size=60))
def test_what_is_read_is_canonical_and_can_be_compared(text: str) -> None:
    for read in (read_number, read_last_number):
        try:
            number = read(text)
        except NumberError:
            continue
        assert CANONICAL.fullmatch(number), number
        assert read_number(number) == number
        assert equal(number, number)


def test_numbers_are_compared_outside_the_main_thread_too() -> None:
    """math-verify's own time limits are signals, which raise there."""
    found: list[bool] = []
    thread = threading.Thread(target=lambda: found.append(equal("50%", "1/2")))
    thread.start()
    thread.join()
    assert found == [True]


def test_math_verify_is_silent(caplog: pytest.LogCaptureFixture) -> None:
    equal("1", "2")
    assert caplog.records == []
