"""Numbers in answers: what is read, and what is not."""

from __future__ import annotations

import time
import unicodedata
from collections.abc import Callable
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.kit.notation import DASHES
from tasks.kit.numbers import (
    NumberError,
    read_first_number,
    read_last_number,
    read_number,
    read_numbers,
)
from tasks.kit.parsing import TAIL_CHARS

ARABIC_FIVE = "\N{ARABIC-INDIC DIGIT FIVE}"

READ = {
    "18": "18", " 18\n": "18", "018": "18", "-18": "-18", "+18": "18", "0": "0",
    "-007": "-7", "5.0": "5.0", ".5": "0.5", "5.": "5", "1,234": "1234", "1,234,567.89": "1234567.89",
    "$5": "5", "-$5": "-5", "$-5": "-5", r"\$5": "5", "$ 5": "5", "\N{EURO SIGN}1,000": "1000", "$5$": "5",
    "1/2": "1/2", "-3/04": "-3/4", "12/4": "12/4",
    "50%": "50%", "50 %": "50%", r"50\%": "50%", "50 per cent": "50%", "12.5%": "12.5%", "50 percent": "50%",
    "18 apples": "18", "x = 18": "18", "9 * 2 = 18": "18", "18 = 18": "18", "In 3 days: 18": "18",
    "5 - that is all": "5", "5 - I think": "5", "a surplus 5": "5", "5 mill": "5", "5 millionaires": "5",
    "18, of course": "18", "18!": "18", "18 (eighteen)": "18", "it says 18; so": "18", "18\u3002": "18",
    # Bold, boxed, in brackets
    "The answer is **18**.": "18", "**Answer:** 18": "18", "**Answer: 18**": "18", "**Total** 18": "18",
    "**18 eggs**": "18",
    "**18** of 20": "18", "* 18": "18", "`18`": "18", "(18)": "18", "[18]": "18", "{18}": "18", '"18"': "18",
    "(-5)": "-5", "**-18**": "-18", "<b>18</b>": "18", r"\boxed{18}": "18", r"$\boxed{18}$.": "18",
    r"\boxed{ -18 }": "-18", r"\boxed{{18}}": "18", r"\boxed{x = 18}": "18", r"\fbox{18}": "18",
    r"\( 18 \)": "18", "$$18$$": "18", r"\mathbf{18}": "18", r"\textbf{-18}": "-18",
    r"\boxed{18\text{ apples}}": "18", r"\boxed{\text{18 apples}}": "18", r"\boxed{\$18}": "18",
    # Units that touch
    "18kg": "18", "5m": "5", "18-inch": "18", "18-year-old": "18", "$18/day": "18", "60km/h": "60",
    "5th": "5",
    "90\u00b0": "90", "90\u00b0C": "90", r"90^\circ": "90", "18\N{EURO SIGN}": "18", "50\u00a2": "50",
    "12cm\N{SUPERSCRIPT TWO}": "12", "12 cm^2": "12", r"12\,\text{cm}^{2}": "12", "7pm": "7",
    "1/2 cup": "1/2",
    # Thousands
    r"1{,}234": "1234", r"1,\!234": "1234", r"1\,234": "1234", r"1\;234": "1234", r"1{\,}234": "1234",
    r"\boxed{10{,}000{,}000}": "10000000", r"-\$1{,}234.50": "-1234.50", "1'234": "1234",
    "1\u2019234": "1234",
    "1\u00a0234": "1234", "1\u2009234": "1234", "1\u202f234\u202f567": "1234567", "1\uff0c234": "1234",
    "1 234": "1234", "1 234 567.5": "1234567.5", "1_234": "1234", "1_234_567": "1234567", "-$1 234": "-1234",
    # With a decimal comma
    "1,23": "1.23", "-0,5": "-0.5", "0,500": "0.500", "1234,567": "1234.567", "1.234,5": "1234.5",
    "1.000.000": "1000000", "1.234.567,8": "1234567.8", r"3{,}5": "3.5", r"1{,}23": "1.23",
    "1 234,5": "1234.5",
    # Powers of ten, and their names
    "1e5": "100000", "1.234E3": "1234", "1.5e-3": "0.0015", "2.5e+02": "250", "-1e2": "-100", "10^3": "1000",
    "10^{-3}": "0.001", r"1.5 \times 10^3": "1500", "1.5x10^3": "1500", "2\u00d710\u00b3": "2000",
    "3 * 10\u207b\u00b2": "0.03", r"$2.5\cdot10^{2}$": "250", "9" * 38 + "e1": "9" * 38 + "0",
    "1 million": "1000000", "$1.5 Billion": "1500000000", "2-thousand": "2000", "5k": "5000", "5K": "5000",
    "1.25M": "1250000", "-3 hundred": "-300", "1/2 million": "500000",
    "9" * 38 + " thousand": "9" * 38 + "000",
    # A minus in words, or apart where it is no bullet
    "minus 5": "-5", "Minus  $5": "-5", "negative 5": "-5", "\nminus 5\n": "-5",
    "The answer:\nminus 5": "-5", r"\text{minus }5": "-5", "It is minus 5.": "-5",
    "The answer is **negative 5**": "-5", "x = - 5": "-5", "(- 5)": "-5", r"\boxed{- 5}": "-5", "$- 5$": "-5",
    # Invisible characters, digits of full width
    "-\u200b5": "-5", "\ufeff5": "5", "\N{FULLWIDTH DIGIT ONE}\N{FULLWIDTH DIGIT SEVEN}": "17",
    "\N{MATHEMATICAL BOLD DIGIT SEVEN}": "7",
    # LaTeX's commands
    r"\boxed{\boxed{18}}": "18", r"\boxed{$\boxed{18}$}": "18", r"\framebox{18}": "18",
    r"\underline{18}": "18",
    r"\textcolor{red}{18}": "18", r"\color{red}{18}": "18", r"{\bf 18}": "18", r"\Rightarrow 18": "18",
    r"\therefore 18": "18", "_18_": "18",
    # The same again
    "18, 18": "18", "x = 18, x = 18": "18", "2x = 36, x = 18": "18", "y = 3, x = 18": "18",
    "x = 36/2, x = 18": "18", "18\n18": "18", "1,234 or 1234": "1234", "18 (18.0)": "18", "18, i.e. 18": "18",
    "**18** or **18**": "18", "1/2 = 0.5": "0.5", "18, so the final answer is **18**.": "18",
    "9 * 2 = <<9*2=18>>18 dollars": "18", "$<<9*2=18>>18": "18",
    # Behind the only verb
    "The sum of 9 and 9 is 18.": "18", "9 and 9 are 18": "18", "9 + 9 equals 18": "18",
    "5 or more people: 18": "18", "Step 2\n**18**": "18", "5. No, **18**": "18",
    "In 3 or 4 steps = 18": "18", "2 or so": "2",
    "Rs5": "5", "Rs. 1,234": "1234", "USD5": "5", "EUR 5": "5", "12 cm2": "12", "12cm3": "12",
    # Fractions
    "3 and 1/2": "7/2",
    r"\frac{1}{2}": "1/2", r"-\dfrac{1}{2}": "-1/2", r"\frac{-1}{2}": "-1/2", r"\frac12": "1/2",
    "\N{VULGAR FRACTION ONE HALF}": "1/2", "1\N{FRACTION SLASH}2": "1/2", "1/5th": "1/5",
    "3 1/2": "7/2", "-3 1/2": "-7/2", r"3\frac{1}{2}": "7/2", "5\N{VULGAR FRACTION ONE HALF}": "11/2",
    "2 \N{VULGAR FRACTION ONE HALF} hours": "5/2",
}  # fmt: skip

REFUSED = {
    "": "no-number", "   ": "no-number", "none": "no-number", "nan": "no-number", "inf": "no-number",
    "-": "no-number", "eighteen": "no-number", "Step 3: done": "no-number", "12 =": "no-number",
    "1e9999": "not-a-number", "0x10": "not-a-number", 
    "1/0": "not-a-number", "1/2/3": "not-a-number", "12,345,67": "not-a-number",
    "--5": "not-a-number", "+-5": "not-a-number", "H2O": "not-a-number",
    ARABIC_FIVE: "not-a-number", f"1{ARABIC_FIVE}": "not-a-number", f"18 {ARABIC_FIVE}": "not-a-number",
    "5\N{SUPERSCRIPT TWO}": "not-a-number", "5\N{SUPERSCRIPT MINUS}\N{SUPERSCRIPT ONE}": "not-a-number",
    "9" * 41: "not-a-number", "0" * 41: "not-a-number",
    "10**10**10": "several-numbers", "2 * 9": "several-numbers", "20-2": "several-numbers",
    "17 or 18": "several-numbers", "5:30": "several-numbers",
    "20 - 5": "several-numbers", "20 minus 5": "several-numbers", "10\u201315": "several-numbers",
    "3:5": "several-numbers", "1\u066c234": "several-numbers", "9" * 201: "answer-too-big",
    # Another sign, in words or apart
    "x minus 5": "not-a-number", "**20** - 5": "not-a-number",
    "$20$ minus 5": "several-numbers", "20 (- 5)": "several-numbers",
    # One of two
    "**5** or **6**": "several-numbers", r"\boxed{5} or \boxed{6}": "several-numbers",
    "5 or **6**": "several-numbers",
    "**5**, **6**": "several-numbers", "**5** and **6**": "several-numbers", "**6** or 5": "several-numbers",
    "x = 5, x = 6": "several-numbers", "$x=5$ and $x=6$": "several-numbers",
    "x_1 = 5, x_2 = 6": "several-numbers",
    "x = 5, x = 56": "several-numbers",
    "x = 5 or x = 6": "several-numbers", "Answer: 5. Or maybe Answer: 6": "several-numbers",
    "five or 6": "not-a-number", "6 or seven": "not-a-number", "five or **6**": "not-a-number",
    "five to 6": "not-a-number", "5 or -5": "several-numbers", "5 or 50%": "several-numbers",
    "5 is wrong, it is 6": "several-numbers", "It is 5 and it is 6": "several-numbers",
    "**5**\n**6**": "several-numbers", "5 is not right": "not-a-number", "5 isn't it": "not-a-number",
    "It is 6, not 5": "several-numbers",
    "5 5": "several-numbers", "5:5": "several-numbers", "5 and 5": "several-numbers",
    "5 to 5": "several-numbers",
    "5 + 5": "several-numbers", "5 x 5": "several-numbers",
    # What it is not, or bounds
    "not 5": "not-a-number", "It isn't **5**": "not-a-number", "It isn\u2019t 5": "not-a-number",
    "more than 5": "not-a-number", "less than $5": "not-a-number", "x > 5": "not-a-number",
    "x < 5": "not-a-number",
    "- 5": "not-a-number", "-$ 5": "not-a-number", "It is - 5": "not-a-number", "\u2212 5": "not-a-number",
    "-**5**": "not-a-number", "- **5**": "not-a-number", "minus **5**": "not-a-number",
    "-(5)": "not-a-number",
    r"-\boxed{5}": "not-a-number", "it is\u20145": "not-a-number",
    "5-": "not-a-number", "|-5|": "not-a-number", "\u00b1 5": "not-a-number",
    r"\pm 5": "not-a-number", "5 degrees below zero": "not-a-number",
    # Another magnitude
    "5 hundred thousand": "not-a-number", "5 million 3": "several-numbers", "5 point five": "not-a-number",
    "one hundred and 5": "not-a-number", "twenty 5": "not-a-number", "1e41": "not-a-number",
    "1e-41": "not-a-number", "10^41": "not-a-number", "10^5!": "several-numbers", "x * 10^2": "not-a-number",
    "1/10^3": "several-numbers", "2^10^3": "several-numbers", "5 ft3in": "several-numbers",
    "5 hundredths": "not-a-number", "18 dozen": "not-a-number", "5 M": "not-a-number",
    "$5m": "not-a-number", r"\boxed{5} million": "not-a-number", "**5** million": "not-a-number",
    "**1**,234": "not-a-number", "1,**234**": "several-numbers",
    "50\u2030": "not-a-number", "5 squared": "not-a-number",
    "5 and a half": "not-a-number", r"\boxed{5!}": "not-a-number", r"\boxed{105": "not-a-number",
    r"\boxed{x = 105": "not-a-number", "4 1/0": "not-a-number", "3 3/2": "not-a-number",
    # An operand
    "x * 5": "not-a-number", "x*5": "not-a-number", "5 * x": "not-a-number", "n - 5": "not-a-number",
    "5x": "not-a-number", "5ab": "not-a-number", "5 + x": "not-a-number", r"5\pi": "not-a-number",
    "5\u03c0": "not-a-number", "f(5)": "not-a-number", r"\sqrt{16}": "not-a-number",
    r"\boxed{\sqrt{16}}": "not-a-number", "square root of 16": "not-a-number", "x_{5}": "not-a-number",
    r"\frac{x}{2}": "not-a-number", r"\frac{1}{2}x": "not-a-number", "x >= 5": "not-a-number",
    "x != 5": "not-a-number", "\N{SQUARE ROOT}16": "not-a-number", "x^5": "not-a-number",
    r"\frac{1}{2}3": "several-numbers", "\N{VULGAR FRACTION ONE HALF}5": "not-a-number",
}  # fmt: skip

LAST = {
    "3 days, so minus 5": "-5", "3 days cost $1 million": "1000000", "10 000": "10000", "10^3": "1000",
    "9 * 2 = <<9*2=18>>18 eggs": "18", "17 or 18": "18", "so 1e5": "100000",
    "She sells 9 * 2 = 18.": "18", "First 3, then $1,234.50 in all": "1234.50", "**18** eggs": "18",
    "so 50%": "50%", "1 " + "x " * 2_047 + "7": "7", "It falls to \u20135 degrees": "-5", "9=-5": "-5",
    r"so \boxed{1{,}234}": "1234", r"so \boxed{10,\!000}": "10000", "18...": "18", r"$\boxed{18}$.": "18",
    "<answer>18</answer>": "18", "18</s>": "18", "1. 18": "18", "2 days, so 3 1/2 hours": "7/2",
}  # fmt: skip

NO_LAST = {
    "": "no-number", ARABIC_FIVE: "no-number", "12" + " " * 4_095: "no-number",
    "5 " + "x" * 4_096: "no-number",
    "9" * 5_000: "no-number", "x " + "9" * 4_000: "not-a-number", "1e9999": "not-a-number",
    "20 - 5": "not-a-number",
    "16-3-4": "not-a-number", "20 -5": "not-a-number", "from 18 to H2O": "not-a-number",
    "10~000": "not-a-number", "1\u066c234": "not-a-number", "12:30": "not-a-number",
    "2 * 9": "not-a-number", "2**3": "not-a-number", 
    "x_1": "not-a-number", "5 times 3": "not-a-number", "10\u201315": "not-a-number",
    r"\boxed{10": "not-a-number",
}  # fmt: skip

FIRST = {
    "18": "18", "12 13": "12", "18 apples": "18", "18kg": "18", "16 = 16": "16", "18 or 19": "18",
    "18.": "18",
    "5 million": "5000000", "1e5": "100000", "1 234": "1234",
    ".5": "0.5", "-5": "-5", "\u22125": "-5", "3/4": "3/4", "1{,}234": "1234", "50%": "50%",
}  # fmt: skip

NO_FIRST = {
    "": "no-number", ". 5": "no-number", "$5": "no-number", 
    "16 - 3 = 13": "not-a-number", "5*3": "not-a-number", "10-15": "not-a-number", 
    "1~234": "not-a-number", "--5": "no-number", "-5-3": "not-a-number", "5^2": "not-a-number",
}  # fmt: skip

PAIRS = {
    "10 25", "**10 25**", r"\boxed{10, 25}", "(10, 25)", "10 and 25", "10, 25.", "`10 25`", "10,25",
    "[10, 25]",
    "**10** and **25**", r"\boxed{10} and \boxed{25}", "10; 25", "$10$ and $25$", "10\n25", "10kg and 25kg",
    "Of the 3 ways, **10 25** is one", "Answer: 10 25",
}  # fmt: skip
NO_PAIRS = {
    "10": "no-number", "10 25 3": "several-numbers", "10 - 25": "not-a-number", "10-25": "not-a-number",
    "10 and 25 dozen": "not-a-number", "(10)(25)": "not-a-number",
    "10 and - 25": "not-a-number", "10^25": "no-number", "10 or 25": "several-numbers",
    "10 25 or 11 24": "several-numbers",
}  # fmt: skip


def read(reader: Callable[[str], str], text: str) -> str:
    """The number, or the reason why there is none."""
    try:
        return reader(text)
    except NumberError as error:
        return str(error)


@pytest.mark.parametrize(
    ("reader", "table"),
    [
        (read_number, READ | REFUSED),
        (read_last_number, LAST | NO_LAST),
        (read_first_number, FIRST | NO_FIRST),
        (lambda text: " ".join(read_numbers(text, 2)), dict.fromkeys(PAIRS, "10 25") | NO_PAIRS),
    ],
    ids=["one", "last", "first", "two"],
)
def test_numbers_are_read_or_refused_with_a_reason(
    reader: Callable[[str], str], table: dict[str, str]
) -> None:
    found = {text: read(reader, text) for text in table}
    assert [(text, found[text], number) for text, number in table.items() if found[text] != number] == []


def test_a_comma_parts_thousands_or_two_numbers() -> None:
    assert read_number("10,250") == "10250"
    assert read_numbers("10,250", 2) == read_numbers("(10, 250)", 2) == ["10", "250"]
    assert read_numbers("10,250 and 3", 2) == ["10250", "3"]


@pytest.mark.parametrize("dash", DASHES, ids=unicodedata.name)
def test_every_dash_is_a_minus(dash: str) -> None:
    assert read_number(f"{dash}5") == read_last_number(f"from 3 to {dash}5") == "-5"
    assert read_number(f"${dash}5") == read_number(f"{dash}$5") == read_number(f"**{dash}5**") == "-5"
    assert read_numbers(f"3, {dash}5", 2) == ["3", "-5"]
    for text in (f"{dash} 5", f"{dash}{dash}5", f"5{dash}", f"it is{dash}5", f"{dash}(5)"):
        assert read(read_number, text) == "not-a-number", text
    for text in (f"3{dash}5", f"3 {dash} 5"):
        assert (read(read_number, text), read(read_last_number, text)) == ("several-numbers", "not-a-number")


SIGNS = ["", "-", "+", "- ", "minus ", "negative ", "$-", "-$", *DASHES]
SEPARATORS = ["", ",", "{,}", r",\!", r"\,", "\u00a0", "\u2009", "\u202f", "'", " ", ".", "\u066c", "~", "_"]
AROUND = [
    ("", ""), ("**", "**"), (r"\boxed{", "}"), ("(", ")"), ("`", "`"), ("$", "$"), (r"\text{", "}"),
    ("*", "*"),
    (r"\(", r"\)"), ("[", "]"), ("{", "}"), ("\n", "\n"), (" ", " "),
]  # fmt: skip
WORDS = [("", ""), ("so ", "."), ("= ", ""), ("Answer: ", " it is"), ("**Answer:** ", ""), ("---\n", "")]
ENDS = ["", "kg", " eggs", "%", ".0", "/1", " dollars", "\u00b0", "!", " million", "k", "e0", "x"]
FACTORS = {" million": 10**6, "k": 10**3}


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from(SIGNS),
    st.integers(0, 9_999_999),
    st.sampled_from(SEPARATORS),
    st.lists(st.sampled_from(AROUND), max_size=3),
    st.sampled_from(WORDS),
    st.sampled_from(ENDS),
    st.booleans(),
)
def test_a_number_in_any_notation_is_itself_or_none(
    sign: str,
    size: int,
    separator: str,
    around: list[tuple[str, str]],
    words: tuple[str, str],
    end: str,
    is_sign_outside: bool,
) -> None:
    """In doubt there is no number: never one of another sign or size."""
    value = size if sign in ("", "+") else -size
    digits = f"{size:,}".replace(",", separator)
    text = digits + end if is_sign_outside else sign + digits + end
    for before, behind in around:
        text = before + text + behind
    text = words[0] + (sign + text if is_sign_outside else text) + words[1]
    for reader in (read_number, read_last_number, read_first_number):
        number = read(reader, text)
        if not number[-1].isalpha() and (separator != "." or size < 1_000):
            assert end != "x" and (end == "%") == number.endswith("%"), text
            assert Fraction(number.removesuffix("%")) == value * FACTORS.get(end, 1), (text, reader.__name__)


@pytest.mark.parametrize(
    "part",
    [
        " ", "1", "-", "$", "{", "}", "*", "\\", r"\boxed{", r"\frac{1}", r"\text{", "1,", "1/", "1 ", ".",
        "=",
        "1e", "<a", "(", "\u2013", r"1\,", "\u00bd", "1 m", "{{", r"\begin{", "1 1/2 ", "**a**", "**1** ",
        "1'",
    ],
)  # fmt: skip
def test_long_runs_take_linear_time(part: str) -> None:
    for reader in (read_number, read_last_number, read_first_number):
        for head, end in (("", ""), ("5", "x"), ("**5", " 5")):
            text = head + part * ((TAIL_CHARS - 10) // len(part)) + end
            start = time.process_time()
            read(reader, text)
            assert time.process_time() - start < 0.05, (reader.__name__, head, end)
