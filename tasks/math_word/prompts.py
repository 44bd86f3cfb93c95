"""The wording of the prompts. A change of wording changes every result."""

from __future__ import annotations

from tasks.math_word.records import Verify

REQUEST = """\
Invent a word problem: a short story with numbers in it, and one question whose answer is a number. A solver \
will be shown your text alone, and has to find the number by reasoning in several steps. Make the solver \
think, but do not make it hopeless."""

RULES = {
    Verify.PROGRAM: """\
Rules:
- Write the problem, and a Python program that computes its answer: one expression, or a function `f()` \
without parameters that returns it.
- Every number in the program, except 0, 1, 2 and 100, must stand in the problem, in digits or as a word up \
to twelve. Write 15 / 100 for 15 percent. If a day has 24 hours, say so in the problem.
- The program contains no text, prints nothing and ends within {seconds} seconds.
- The answer is an integer or a decimal number, not too large.""",
    Verify.CLAIMED: """\
Rules:
- Write the problem, and its answer.
- Everything that the solver needs to know stands in the problem.
- The answer is one number, without words or units.""",
    Verify.MAJORITY: """\
Rules:
- Write the problem alone, without its answer.
- Everything that the solver needs to know stands in the problem.
- The answer is one number, without words or units.""",
}

EXAMPLES = """\
Problems of earlier rounds. Yours must differ from all of them in its story and in its steps:

{examples}"""

PROBLEM = "Solve this problem."
ONE_NUMBER = "The answer is one number, without words or units."
STRICT = "Work it out step by step. End with a line that holds #### and the number, and nothing else."
FLEXIBLE = "Work it out step by step, and state the number last."

QUESTION_SKETCH = "<the problem>"
PROGRAM_SKETCH = "<the expression or the function>"
CLAIM_SKETCH = "<the number>"
NUMBER_SKETCH = "<the number>"
REPLY = "Reply in exactly this form:"
THOUGHT = "<your reasoning>"
GOLD_THOUGHT = "The answer is known."
