r"""`strict` and `flexible` beside lm-evaluation-harness's two filters, response by response.

The harness's rules are those of its task `gsm8k`, version 3.0 (`lm_eval/tasks/gsm8k/gsm8k.yaml` at commit
47f16bf, `RegexFilter` in `lm_eval/filters/extraction.py`, `exact_match` in `lm_eval/api/metrics.py`): the
first match of `#### (\-?[0-9\.\,]+)`, the last match of `(-?[$0-9.,]{2,})|(-?[0-9]+)`; commas, dollar signs,
all up to `#### ` and a full stop at the end are dropped; what is left is compared as text.
"""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

from tasks.contract import Outcome
from tasks.math_word import MathWordPack
from tasks.math_word.records import problem

PACKS = {name: MathWordPack(extraction=name) for name in ("strict", "flexible")}
MOST_CHARS = 4_096

# Each with what both of the two filters say: answer, response
SAME = [
    # Behind the mark
    ("18", "#### 18"), ("18", "9 * 2 = 18\n#### 18"), ("18", "#### 18 eggs"), ("18", "#### 18."),
    ("18", "#### 18\n"), ("18", "#### 18, of course"), ("18", "#### 19"), ("18", "#### -18"),
    ("-18", "#### -18"),
    ("1234", "#### 1,234"), ("1234567", "#### 1,234,567"), ("18", "#### 18kg"), ("18", "####18"),
    ("18", "####  18"),
    ("18", "####\n18"), ("18", "### 18"), ("18", "##### 18"), ("18", "#### $18"), ("18", "#### **18**"),
    ("18", r"#### \boxed{18}"), ("18", "#### eighteen"), ("18", "#### "), ("18", "#### 18 #### 19"),
    ("19", "#### 18\n#### 19"), ("18", "#### 18\n#### 19"),
    ("18", "#### 18\n\nQuestion: 2 + 3?\nAnswer: 5\n#### 5"),
    ("18", "#### Step 1\n#### 18"), ("18", "#### 18 or 19"), ("0", "#### 0"), ("18", "#### 18\u20ac"),
    ("0.5", "#### 0.5"), ("2.50", "#### 2.50"), ("18", "#### 18-inch"), ("18", "#### 18%"),
    ("18", "#### (18)"),
    # The last number
    ("18", "18"), ("5", "5"), ("5", "5."), ("18", "The answer is 18."), ("18", "It is 18, I think"),
    ("18", "17 or 18"), ("17", "17 or 18"), ("18", "She sells 9 * 2 = 18 eggs."), ("18", "She makes $18."),
    ("18", "She makes $18 a day"), ("1234", "It costs $1,234."), ("18", "(18)"), ("18", "**18**"),
    ("18", "`18`"),
    ("18", r"so \boxed{18}"), ("18", r"so $\boxed{18}$"), ("18", r"\(x = 18\)"), ("18", "x=18"),
    ("-18", "x=-18"),
    ("18", "+18"), ("18", "-18"), ("-18", "It is -18."), ("-5", "It costs -$5"), ("-5", "It costs $-5"),
    ("18", "18 of 20"), ("20", "18 of 20"), ("18", "18!"), ("18", "18?"), ("18", "18;"), ("18", "18%"),
    ("18", "18kg"),
    ("18", "18-inch"), ("18", "18/day"), ("18", "18\u20ac"), ("18", "\u20ac18"), ("18", "18\u00b0C"),
    ("18", "\u00a318"),
    ("18", "<answer>18</answer>"), ("18", "18</s>"), ("18", "18<|im_end|>"), ("18", "Day 1\n\n18"),
    ("18", '"18"'),
    ("18", "none"), ("18", ""), ("18", "eighteen"), ("18", "?"), ("0.5", "It is 0.5"), ("18", "18 \u0665"),
    ("18", "18 is half of 36"), ("5", "Rs5"), ("18", "She makes 9 * 2 = <<9*2=18>>18 dollars"),
    ("18", "16-3-4=<<16-3-4=9>>9 eggs\n9*2=$<<9*2=18>>18\n#### 18"), ("18", "180"), ("18",
    "The answer is: 18\n"),
    ("18", "16 - 3 - 4 = 9\n9 * 2 = 18"), ("18", "nine times two is 18, or 1.5 dozen"),
    ("18", "From 18 to H2O"),
]  # fmt: skip

# By the difference, as docs/math_word.md names it: filter, answer, response, whether it is right here
OTHER = {
    "dashes": [
        ("flexible", "5", "It falls to \u20135 degrees", False),
        ("flexible", "-5", "It falls to \u22125", True),
        ("strict", "-5", "#### \u22125", True), ("flexible", "5", "It falls to \u20105", False),
    ],
    "separators": [
        ("flexible", "1234", r"so \boxed{1{,}234}", True), ("flexible", "234", r"so \boxed{1{,}234}", False),
        ("flexible", "10000", r"so \boxed{10,\!000}", True),
        ("strict", "1234", r"#### 1{,}234", True), ("strict", "1", r"#### 1{,}234", False),
        ("flexible", "1234", "so 1\u202f234", True), ("flexible", "234", "so 1 234", False),
        ("strict", "1", "#### 1 234", False), ("strict", "1234", r"#### 1\,234", True),
        ("strict", "1234", "#### 1 234", True), ("flexible", "1234", "so 1_234", True),
    ],
    "values": [
        ("strict", "18", "#### 18.0", True), ("flexible", "18.0", "so 18", True),
        ("flexible", "7", "agent 007", True),
        ("flexible", "2.5", "$2.50", True), ("strict", "0.5", "#### .5", True),
        ("flexible", "5", "-0.0 to 5.00", True),
    ],
    "fractions": [
        ("flexible", "3/4", "so 3/4 of it", True), ("flexible", "4", "so 3/4 of it", False),
        ("strict", "3", "#### 3/4", False), ("flexible", "7/2", "3 1/2 hours", True),
        ("flexible", "2", r"so \frac{1}{2}", False), ("flexible", "9", "so 18/2", True),
    ],
    "percentages": [("flexible", "0.5", "so 50%", True), ("strict", "0.5", "#### 50%", True)],
    "commas": [
        ("strict", "123", "#### 1,23", False), ("flexible", "1819", "18,19", False),
        ("flexible", "1234567", "12,345,67", False), ("flexible", "1.23", "so 1,23", True),
    ],
    "words": [
        ("flexible", "5", "so minus 5", False), ("strict", "5", "#### 5 million", False),
        ("flexible", "5", "so $5 million", False), ("flexible", "5", "it loses - 5", False),
        ("flexible", "2", "2 dozen", False), ("flexible", "5", "5 squared", False),
        ("flexible", "36", "18 is half of 36", False), ("flexible", "36", "18 is less than 36", False),
        ("flexible", "5000000", "so $5 million", True), ("flexible", "-5", "so minus 5", True),
    ],
    "operands": [
        ("flexible", "-3", "16-3", False), ("flexible", "3", "16 - 3", False),
        ("strict", "16", "#### 16 - 3", False),
        ("flexible", "3", "10^3", False), ("flexible", "9", "so 2 * 9", False),
        ("strict", "2", "#### 2*9", False),
        ("flexible", "16", r"so \sqrt{16}", False), ("flexible", "-15", "10-15", False),
    ],
    "letters": [
        ("flexible", "5", "1e5", False), ("strict", "1", "#### 1e5", False), ("flexible", "2", "H2O", False),
        ("flexible", "10", "0x10", False), ("flexible", "5", "5x", False),
        ("flexible", "100000", "1e5", True), ("strict", "1500", r"#### 1.5 \times 10^3", True),
    ],
    "punctuation": [
        ("flexible", "18", "so 18...", True), ("flexible", "18", r"so $\boxed{18}$.", True),
        ("flexible", "18", "18, and so on ...", True), ("flexible", "30", "at 12:30", False),
    ],
    "length": [("flexible", "18", "18" + " " * MOST_CHARS, False)],
}  # fmt: skip


def harness(name: str, answer: str, response: str) -> bool:
    """Whether the harness's filter and metric call a response right."""
    if name == "strict":
        matches = re.findall(r"#### (\-?[0-9\.\,]+)", response)[:1]
    else:
        matches = ["".join(groups) for groups in re.findall(r"(-?[$0-9.,]{2,})|(-?[0-9]+)", response)][-1:]
    left = matches[0] if matches else "[invalid]"
    for ignored in (",", r"\$", "(?s).*#### ", r"\.$"):
        left = re.sub(ignored, "", left)
    return left == answer


def here(name: str, answer: str, response: str) -> bool:
    """Whether the pack calls a response right."""
    found = asyncio.run(PACKS[name].judge(problem("How many?", answer), response))
    return found.outcome is Outcome.CORRECT


def test_the_filters_agree_with_the_harness() -> None:
    assert len({response for _, response in SAME}) >= 60
    found = [(name, *row, here(name, *row), harness(name, *row)) for name in PACKS for row in SAME]
    assert [row for row in found if row[-2] != row[-1]] == []
    assert sum(row[-1] for row in found) > 60


def test_each_difference_from_the_harness_is_in_the_docs() -> None:
    docs = Path("docs/math_word.md").read_text(encoding="utf-8")
    assert [name for name in OTHER if f"| {name} |" not in docs] == []
    rows = [row for rows in OTHER.values() for row in rows]
    found = [(*row, here(*row[:3]), harness(*row[:3])) for row in rows]
    assert [row for row in found if row[-2] != row[3] or row[-1] == row[3]] == []
