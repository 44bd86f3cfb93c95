"""Draw ordinary small programs from a grammar: strings, lists, dictionaries, loops and comprehensions.

The held-out set is drawn so, in the manner of output- and input-prediction benchmarks. A program takes
one value, moves it through two to four operations, each of a type that the last one left, and returns the
end, or the end with what stood before it; some have their first half in a helper function. Its outputs come
from the sandbox, like those of a model's program.
"""

from __future__ import annotations

import random
import re
import string
from dataclasses import dataclass

from tasks.contract import TaskRecord
from tasks.execution import Runner, error_class, fault
from tasks.python_code.records import ERROR, INDUCTION, Draft, Example, to_record
from tasks.sandbox.literals import render

DOMAINS = ("text", "numbers", "words", "table", "number")
"""Types of a program's parameter: str, list of int, list of str, dict of str to int, and int."""

WORDS = (
    "apple", "bee", "cloud", "dune", "ember", "fig", "grape", "hill", "iris", "jade", "kite", "lemon", "moss",
    "night", "oak", "pear", "quartz", "river", "stone", "tulip", "umber", "vine", "willow", "yarn", "zebra",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Move:
    """One operation."""

    target: str  # type of what it leaves
    code: str  # statements that set `OUT` from `IN`; `A` and `B` are small numbers, `C` and `D` letters
    words: str  # the same for people


MOVES = {
    "text": (
        Move("text", "OUT = IN[::-1]", "turn it around"),
        Move("text", "OUT = IN.replace('C', 'D')", "put 'D' in place of every 'C'"),
        Move("text", "OUT = IN[A:] + IN[:A]", "move the first A characters to the end"),
        Move("text", "OUT = ''.join(sorted(IN))", "sort the characters"),
        Move("text", "OUT = ''.join(ch.upper() if i % A == 0 else ch for i, ch in enumerate(IN))",
             "make every character at a multiple of A upper case"),
        Move("text", "OUT = ''\nfor ch in IN:\n    if ch not in OUT:\n        OUT += ch",
             "keep the first of every character"),
        Move("text",
             "OUT = ''.join(chr((ord(ch) - 97 + B) % 26 + 97) if 'a' <= ch <= 'z' else ch for ch in IN)",
             "shift the small letters by B in the alphabet"),
        Move("words", "OUT = IN.split()", "split it at blanks"),
        Move("words", "OUT = [IN[i:i + A] for i in range(0, len(IN), A)]", "cut it into pieces of A"),
        Move("table", "OUT = {}\nfor ch in IN:\n    OUT[ch] = OUT.get(ch, 0) + 1", "count every character"),
        Move("numbers", "OUT = [i for i, ch in enumerate(IN) if ch in 'aeiou']",
             "list the places of its vowels"),
        Move("number", "OUT = len(set(IN)) * A + IN.count('C')", "A a different character, 1 a 'C'"),
    ),
    "numbers": (
        Move("numbers", "OUT = [n * A - B for n in IN]", "multiply by A and take B away"),
        Move("numbers", "OUT = [n for n in IN if n % A]", "drop the multiples of A"),
        Move("numbers", "OUT = sorted(IN, key=lambda n: (n % A, n))", "sort by the remainder of A"),
        Move("numbers", "OUT = [y - x for x, y in zip(IN, IN[1:])]", "take the differences"),
        Move("numbers", "OUT = []\ntotal = B\nfor n in IN:\n    total += n\n    OUT.append(total)",
             "make running totals that start from B"),
        Move("numbers", "OUT = []\nfor n in IN:\n    if n not in OUT:\n        OUT.insert(0, n)",
             "drop repeated numbers, the last one first"),
        Move("text", "OUT = 'C'.join(str(n) for n in IN)", "join them by 'C'"),
        Move("table", "OUT = {'small': 0, 'large': 0}\nfor n in IN:\n"
             "    OUT['small' if n < B else 'large'] += n",
             "add up the small ones, below B, and the large ones"),
        Move("number", "OUT = 0\nfor i, n in enumerate(IN):\n    OUT += n if i % A == 0 else -n",
             "add those at multiples of A and take away the others"),
        Move("number", "OUT = max(IN, default=A) - min(IN, default=B)", "take the range"),
    ),
    "words": (
        Move("words", "OUT = sorted(IN, key=lambda word: (len(word), word))", "sort by length"),
        Move("words", "OUT = [word[::-1] for word in IN if len(word) > A]", "turn those over A around"),
        Move("words", "OUT = [word + IN[i - 1][:A] for i, word in enumerate(IN)]", "add a head to each"),
        Move("text", "OUT = 'C'.join(word[:A] for word in IN)", "join the heads by 'C'"),
        Move("numbers", "OUT = [len(word) * A for word in IN]", "take A times the lengths"),
        Move("table", "OUT = {word: len(word) % A for word in IN}", "map each to its length modulo A"),
        Move("table", "OUT = {}\nfor word in IN:\n    OUT[word[:1]] = OUT.get(word[:1], B) + len(word)",
             "add up the lengths by first letter, from B"),
    ),
    "table": (
        Move("words", "OUT = sorted(IN, key=lambda key: (-IN[key], key))", "list the keys by value"),
        Move("numbers", "OUT = [IN[key] * A for key in sorted(IN)]", "take A times the values by key"),
        Move("table", "OUT = {key: v + B for key, v in IN.items() if v != A}", "add B, and drop A"),
        Move("table", "OUT = {}\nfor key, v in IN.items():\n    OUT[key[-1:]] = max(v, OUT.get(key[-1:], 0))",
             "keep the largest by last letter"),
        Move("number", "OUT = sum(v * len(key) for key, v in IN.items())", "weigh values by key length"),
        Move("text", "OUT = ''.join(key * (v % A) for key, v in IN.items())", "repeat the keys"),
    ),
    "number": (
        Move("numbers", "OUT = [int(digit) + A for digit in str(abs(IN))]", "add A to every digit"),
        Move("numbers", "OUT = [n * n % (B + 2) for n in range(abs(IN) % 7 + A)]", "list squares"),
        Move("numbers", "OUT = [abs(IN) % 50 + A]\nwhile OUT[-1] > 1 and len(OUT) < 8:\n    n = OUT[-1]\n"
             "    OUT.append(n // 2 if n % 2 == 0 else 3 * n + 1)",
             "halve even numbers and triple odd ones, at most 8"),
        Move("number", "OUT = sum(int(digit) ** A for digit in str(abs(IN)))", "add digits to the A"),
        Move("number", "OUT = IN // A if IN % A == 0 else IN * A + B", "divide by A, or multiply"),
        Move("text", "OUT = bin(abs(IN) + B)[2:]", "write it in binary, B more"),
        Move("text", "OUT = str(IN * A) + 'C' * (abs(IN) % 4)", "write it with a tail of 'C'"),
    ),
}  # fmt: skip
"""By the type of what they take."""

ERROR_TAILS = {
    "text": ("int(IN + 'C')", "IN.index('#')", "IN + A", "IN[len(IN) + A]"),
    "numbers": ("IN[len(IN)]", "IN.index(0.5)", "IN + A", "IN.remove('C')"),
    "words": ("IN[-len(IN) - 1]", "sum(IN, A)", "IN.index(A)", "IN.lower()"),
    "table": ("IN['#']", "IN + A", "IN.pop(A)", "IN.items()[0]"),
    "number": ("IN // (IN - IN)", "IN[A]", "len(IN)", "IN + 'C'"),
}
"""Expressions that raise, by the type of what they take."""

MAX_DRAWN_CHARS = 200  # longest output of a drawn task: one that people can follow, under any knob
EMPTY_OUTPUTS = frozenset({"[]", "''", "{}"})  # too easily guessed, and too easily found an input for
MIN_DISTINCT_OUTPUTS = 3  # among the examples of a drawn induction task


def draw_record(kind: str, domain: str, num_inputs: int, rng: random.Random, runner: Runner) -> TaskRecord:
    """Draw a task about a program with a parameter of type `domain`; raises SandboxBroken if none can run."""
    while True:
        draft = draw_draft(kind, domain, num_inputs, rng)
        if len(set(draft.inputs)) < len(draft.inputs):
            continue
        calls = runner.run(draft.program, draft.inputs)
        if kind == ERROR:
            outputs = [error_class(call) for call in calls if fault(call) == "raises"]
        else:
            outputs = [call.literal for call in calls if call.literal is not None]
        if len(outputs) == len(calls) and _is_telling(kind, outputs):
            return to_record(kind, draft.program, list(map(Example, draft.inputs, outputs)), draft.message)


def draw_draft(kind: str, domain: str, num_inputs: int, rng: random.Random) -> Draft:
    """Draw a program with a parameter of type `domain`, and inputs; for an error task, one that raises."""
    found = domain
    variables = [domain if domain != "number" else "value"]
    lines: list[str] = []
    said: list[str] = []
    num_moves = rng.randint(2, 4)
    cut = rng.randint(1, num_moves - 1)
    for number in range(num_moves):
        move = rng.choice(MOVES[found])
        code, words = _fill([move.code, move.words], variables[-1], "abcd"[number], rng)
        found = move.target
        variables.append("abcd"[number])
        lines += code.split("\n")
        said.append(words)
        if number + 1 == cut:
            num_first = len(lines)
    helper, end = "", variables[-1]
    if kind == ERROR:
        end = _fill([rng.choice(ERROR_TAILS[found])], variables[-1], "", rng)[0]
    elif rng.random() < 0.2:
        end = f"{variables[-1]}, {variables[-2]}"
        said.append("return that and what stood before it")
    elif rng.random() < 0.25:
        helper = _define("step", variables[0], lines[:num_first], variables[cut]) + "\n\n"
        lines = [f"{variables[cut]} = step({variables[0]})", *lines[num_first:]]
    program = helper + _define("f", variables[0], lines, end)
    inputs = tuple(draw_input(domain, rng) for _ in range(num_inputs if kind == INDUCTION else 1))
    return Draft(program, inputs, f"It takes one argument ({domain}). Steps: {'; '.join(said)}.")


def draw_input(domain: str, rng: random.Random) -> str:
    """Draw an argument of type `domain`, as a canonical literal."""
    words = [rng.choice(WORDS) for _ in range(rng.randint(2, 4))]
    if domain == "text":
        return render(rng.choice([" ".join(words), "".join(rng.choices("abcde ", k=rng.randint(4, 10)))]))
    if domain == "words":
        return render(words)
    if domain == "table":
        return render({word: rng.randint(0, 9) for word in words})
    if domain == "numbers":
        return render([rng.randint(-9, 20) for _ in range(rng.randint(3, 6))])
    return render(rng.randint(-50, 999))


def _is_telling(kind: str, outputs: list[str]) -> bool:
    """Whether the outputs of a drawn program make a task worth asking."""
    if kind == ERROR:
        return True
    if max(map(len, outputs)) > MAX_DRAWN_CHARS:
        return False
    return len(set(outputs)) >= MIN_DISTINCT_OUTPUTS if kind == INDUCTION else outputs[0] not in EMPTY_OUTPUTS


def _fill(texts: list[str], source: str, target: str, rng: random.Random) -> list[str]:
    """Put variables, numbers and letters into the places of a move's texts, the same ones into each."""
    first, second = rng.sample(string.ascii_lowercase[:8], 2)
    places = {"OUT": target, "IN": source, "A": str(rng.randint(2, 5)), "B": str(rng.randint(1, 9))}
    places |= {"C": first, "D": second}
    # Places are words in capitals, and no other word of a move is.
    return [re.sub(r"\b(OUT|IN|[ABCD])\b", lambda place: places[place[0]], text) for text in texts]


def _define(name: str, parameter: str, lines: list[str], end: str) -> str:
    return "\n    ".join([f"def {name}({parameter}):", *lines, f"return {end}"])
