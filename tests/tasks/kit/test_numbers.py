"""Numbers in answers: what is read, and what is not."""

from __future__ import annotations

import pytest

from tasks.kit.numbers import NumberError, read_last_number, read_number

ARABIC_FIVE = "\N{ARABIC-INDIC DIGIT FIVE}"

READ = {
    "18": "18", " 18\n": "18", "018": "18", "-18": "-18", "+18": "18", "\N{MINUS SIGN}18": "-18", "0": "0",
    "-007": "-7", "5.0": "5.0", ".5": "0.5", "5.": "5", "1,234": "1234", "1,234,567.89": "1234567.89",
    "$5": "5", "-$5": "-5", r"\$5": "5", "$ 5": "5", "\N{EURO SIGN}1,000": "1000", "$5$": "5", "1/2": "1/2",
    "-3/04": "-3/4", "50%": "50%", "50 %": "50%", r"50\%": "50%", "50 per cent": "50%", "12.5%": "12.5%",
    "18 apples": "18", "x = 18": "18", "The answer is **18**.": "18", r"\boxed{18}": "18", "(18)": "18",
    "50 percent": "50%",
    "5 - that is all": "5", "a surplus 5": "5", "(-5)": "-5", "5 mill": "5",
    "5 millionaires": "5",
    "18, of course": "18", "$18/day": "18", "18-inch": "18",
}  # fmt: skip

REFUSED = {
    "": "no-number", "   ": "no-number", "none": "no-number", "nan": "no-number", "inf": "no-number",
    "-": "no-number", "eighteen": "no-number", "\N{VULGAR FRACTION ONE HALF}": "not-a-number",
    "1e5": "not-a-number", "1e9999": "not-a-number", "0x10": "not-a-number", "1_000": "not-a-number",
    "1/0": "not-a-number", "1/2/3": "not-a-number", "1,23": "not-a-number", "12,345,67": "not-a-number",
    "1.000.000": "not-a-number", "--5": "not-a-number", "18kg": "not-a-number", "H2O": "not-a-number",
    ARABIC_FIVE: "not-a-number", f"1{ARABIC_FIVE}": "not-a-number", f"18 {ARABIC_FIVE}": "not-a-number",
    "5\N{VULGAR FRACTION ONE HALF}": "not-a-number", "5\N{SUPERSCRIPT TWO}": "not-a-number",
    "\N{FULLWIDTH DIGIT SEVEN}": "not-a-number", "9" * 41: "not-a-number", "0" * 41: "not-a-number",
    "10**10**10": "several-numbers", "2 * 9": "several-numbers", "20-2": "several-numbers",
    "3 1/2": "several-numbers", "1 234": "several-numbers", "17 or 18": "several-numbers",
    "minus 5": "not-a-number", "Minus  $5": "not-a-number", "negative 5": "not-a-number",
    "- 5": "not-a-number", "-$ 5": "not-a-number", "\N{MINUS SIGN} 5": "not-a-number",
    "It is - 5": "not-a-number", "5 hundredths": "not-a-number",
    "2 \N{VULGAR FRACTION ONE HALF} hours": "not-a-number",
    "1 million": "not-a-number", "$1.5 Billion": "not-a-number", "2-thousand": "not-a-number",
    "20 - 5": "several-numbers", "20 minus 5": "several-numbers",
    "18 = 18": "several-numbers", r"\frac{1}{2}": "several-numbers", "9" * 201: "answer-too-big",
}  # fmt: skip


@pytest.mark.parametrize(("text", "number"), READ.items())
def test_one_number_is_read(text: str, number: str) -> None:
    assert read_number(text) == number


@pytest.mark.parametrize(("text", "reason"), REFUSED.items())
def test_anything_else_is_refused_with_a_reason(text: str, reason: str) -> None:
    with pytest.raises(NumberError, match=f"^{reason}$"):
        read_number(text)


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("She sells 9 * 2 = 18.", "18"),
        ("First 3, then $1,234.50 in all", "1234.50"),
        ("**18** eggs", "18"),
        ("16-3-4", "4"),
        ("from 18 to H2O", "18"),
        ("so 50%", "50%"),
        ("1 " + "x " * 2_047 + "7", "7"),
    ],
)
def test_the_last_number_is_read(text: str, number: str) -> None:
    assert read_last_number(text) == number


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "no-number"),
        ("1e9999", "no-number"),
        (ARABIC_FIVE, "no-number"),
        ("12" + " " * 4_095, "no-number"),
        ("5 " + "x" * 4_096, "no-number"),
        ("9" * 5_000, "no-number"),
        ("x " + "9" * 4_000, "not-a-number"),
        ("3 days, so minus 5", "not-a-number"),
        ("3 days cost $1 million", "not-a-number"),
        ("20 - 5", "not-a-number"),
        ("so 2 \N{VULGAR FRACTION ONE HALF} hours", "not-a-number"),
    ],
)
def test_a_last_number_that_cannot_be_read_is_none(text: str, reason: str) -> None:
    with pytest.raises(NumberError, match=f"^{reason}$"):
        read_last_number(text)
