"""The wording of the prompts with instructions. A change of wording changes every result."""

from __future__ import annotations

from tasks.kit.program import ALLOWED_MODULES
from tasks.python_code.records import ABDUCTION, DEDUCTION, ERROR, INDUCTION

MODULES = ", ".join(sorted(ALLOWED_MODULES))

REQUESTS = {
    DEDUCTION: """\
Invent a puzzle: a Python program `f` and an input for it. A solver will be shown the program and the \
input, and has to say what `f` returns, without running it.""",
    ABDUCTION: """\
Invent a puzzle: a Python program `f` and an input for it. A solver will be shown the program and what `f`\
 returns for your input, and has to find an input for which `f` returns exactly that.""",
    ERROR: """\
Invent a puzzle: a Python program `f` and an input on which it raises an exception. A solver will be shown\
 the program and the input, and has to name the class of the exception, without running it. The class must\
 be one that is built into Python, such as KeyError.""",
}
"""First part of a proposer's prompt."""

RULES = f"""\
Rules:
- Define exactly one function `f` at the top level, with at least one parameter. Helper functions, nested \
functions and classes are welcome.
- Arguments and result are made of None, booleans, numbers, strings, bytes, lists, tuples, dicts and sets.
- The result depends on the arguments alone. No randomness, no clock, no files, no network, no print, no \
input, no eval or exec, no names with double underscores but `__init__`.
- The only modules you may import are {MODULES}.
- `f` ends within {{seconds}} seconds of computing time. The program has at most {{program_chars}} \
characters, the arguments and the result at most {{literal_chars}} each.
- Write the arguments as Python literals separated by commas, such as: [1, 2], 'abc'. No expressions, no \
names.
- Make the solver think: several steps that have to be followed with care. But do not make it hopeless."""

COMPOSITE = """\
These functions exist already. Your `f` must call every one of them, and you must not define them again:
{given}"""

EXAMPLES = """\
Puzzles of earlier rounds. Yours must differ from all of them in what it makes the solver do:

{examples}"""

INDUCTION_REQUEST = """\
Here is a Python program:
{program}

Turn it into a puzzle: write {num_inputs} different inputs for `f`, and a message about what `f` does. A \
solver will be shown the message, half of your inputs and what `f` returns for them, but not the program. \
The solver has to write a program that returns the same for the other half.

Rules:
- Write the arguments as Python literals separated by commas, such as: [1, 2], 'abc'. No expressions, no \
names.
- `f` must return a value for every input, without an exception.
- Choose inputs that together show everything `f` does, edge cases included.
- The message gives a hint in words. It holds no code, and it need not tell everything."""

INDUCTION_QUESTION = f"""\
A hidden Python program `f` was run on some inputs. Find out what it does.

What is said about it:
{{message}}

What it returned:
{{examples}}

Write a program with one function `f` at the top level that returns the same, for these inputs and for \
others that you are not shown. No randomness, no clock, no files, no print, no input. The only modules you\
 may import are {MODULES}."""

QUESTIONS = {
    DEDUCTION: "What does `f` return for this input? Work it out without running the program.",
    ABDUCTION: "Find an input for which `f` returns this output. Any such input is right.",
    ERROR: "Which exception does `f` raise for this input? Work it out without running the program.",
}
"""First part of a solver's prompt."""

ANSWER_SKETCHES = {
    DEDUCTION: "<the value, as a Python literal>",
    ABDUCTION: "<the arguments, as Python literals separated by commas>",
    INDUCTION: "<the program>",
    ERROR: "<the name of the class>",
}

PROGRAM_SKETCH = "def f(...):\n    ..."
REPLY = "Reply in exactly this form:"
THOUGHT = "<your reasoning>"
GOLD_THOUGHT = "The answer is known."
