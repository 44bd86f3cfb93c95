"""Tags and fenced blocks, string by string."""

from __future__ import annotations

import time

import pytest

from tasks.kit.response import MAX_CHARS, Block, Tags, Unread, block, read_blocks, wrap

FENCED = "```python\ndef f(x):\n    return x\n```\n```input\n1, 'a'\n```"
BLOCKS = [Block("python", "def f(x):\n    return x"), Block("input", "1, 'a'")]


@pytest.mark.parametrize("tags", list(Tags))
def test_what_is_wrapped_is_read(tags: Tags) -> None:
    assert read_blocks(wrap(FENCED, tags, "thinking"), tags) == BLOCKS


@pytest.mark.parametrize(
    ("tags", "response", "expected"),
    [
        (Tags.THINK_ANSWER, f"of the prompt\n</think> <answer>{FENCED}</answer>", BLOCKS),
        (Tags.THINK_ANSWER, f"<think>a <answer>x</answer></think><answer>\n{FENCED}\n</answer>", BLOCKS),
        (Tags.THINK_ANSWER, f"<answer>{FENCED}</answer>", Unread("no-think-tags")),
        (Tags.THINK_ANSWER, f"<think></think>{FENCED}", Unread("no-answer-tags")),
        (Tags.THINK_ANSWER, f"<answer>{FENCED}</answer></think>", Unread("no-answer-tags")),
        (Tags.THINK_ANSWER, f"<think></think><answer>{FENCED}", Unread("no-answer-tags")),
        (Tags.THINK_ANSWER, f"<think></think></answer>{FENCED}<answer>", Unread("no-answer-tags")),
        (Tags.THINK_ANSWER, "", Unread("no-think-tags")),
        (Tags.ANSWER, f"free thoughts in <answer> tags. <answer>{FENCED}</answer> done", BLOCKS),
        (Tags.ANSWER, FENCED, Unread("no-answer-tags")),
        (Tags.NONE, FENCED, BLOCKS),
        (Tags.NONE, f"<think>```input\n0\n```</think>{FENCED}", BLOCKS),
        (Tags.NONE, "nothing", []),
        (Tags.NONE, "```", Unread("unclosed-block")),
        (Tags.NONE, "```input\n1", Unread("unclosed-block")),
        (Tags.NONE, "```python\nx\n```input\n1\n```", Unread("unclosed-block")),
        (Tags.NONE, "```Py \r\nx\r\n```", [Block("python", "x")]),
        *[
            (Tags.NONE, f"```{name}\nx\n```", [Block("python", "x")])
            for name in ("py", "py3", "python", "python3", "Python3 ", "python3.11", " py", "py title=f.py")
        ],
        *[
            (Tags.NONE, f"```{name}\nx\n```", [Block(name, "x")])
            for name in ("python2", "pyi", "pycon", "ipython3", "input1")
        ],
        (Tags.NONE, "  ```input\n  1\n  ```  ", [Block("input", "  1")]),
        (Tags.NONE, "```input\n```", [Block("input", "")]),
        (Tags.NONE, "```\n1\n```", [Block("", "1")]),
        (Tags.NONE, "~~~python3\n```\nx\n~~~", [Block("python", "```\nx")]),
        (Tags.NONE, "````input\n```\n1\n````", [Block("input", "```\n1")]),
        (Tags.NONE, "```input\n1\n````", [Block("input", "1")]),
        (Tags.NONE, "````input\n1\n```", Unread("unclosed-block")),
        (Tags.NONE, "~~~input\n1\n```", Unread("unclosed-block")),
        (Tags.NONE, "```python\nx\ny```", [Block("python", "x\ny")]),
        (Tags.NONE, "```input\n1```\n```output\n2```", [Block("input", "1"), Block("output", "2")]),
        (Tags.NONE, "```input\n'\u2028\x0c'\n```", [Block("input", "'\u2028\x0c'")]),
        (Tags.NONE, "x" * (MAX_CHARS + 1), Unread("response-too-big")),
    ],
)
def test_response_is_cut_or_told_why_not(tags: Tags, response: str, expected: list[Block] | Unread) -> None:
    assert read_blocks(response, tags) == expected


TAG = "tag = '<answer>'"
TURN = "\nUser: What is 2 + 2?\nAssistant: "
INVENTED = "<think>2 and 2</think>\n<answer>\n```input\n4\n```\n</answer>"

RUN_ON = [
    (Tags.THINK_ANSWER, f"a</think><answer>{FENCED}</answer>{TURN}{INVENTED}", BLOCKS),
    (Tags.THINK_ANSWER, f"a</think><answer>{FENCED}</answer>\n<answer>no</answer>", BLOCKS),
    (Tags.THINK_ANSWER, f"a</think><answer>{FENCED}</answer></answer>", BLOCKS),
    (Tags.THINK_ANSWER, f"a</think><answer>{FENCED}</answer> and <answer> again", BLOCKS),
    # An answer that holds nothing is the answer.
    (Tags.THINK_ANSWER, f"a</think><answer></answer><answer>{FENCED}</answer>", []),
    # It did not end its thinking; the next turn's end is not its own.
    (Tags.THINK_ANSWER, f"<answer>{FENCED}</answer>{TURN}{INVENTED}", Unread("no-think-tags")),
    (Tags.ANSWER, f"a <answer>{FENCED}</answer>{TURN}{INVENTED}", BLOCKS),
    (Tags.ANSWER, f"<think>a <answer>x</answer></think><answer>{FENCED}</answer>{TURN}{INVENTED}", BLOCKS),
    (Tags.ANSWER, f"a <answer>{FENCED}</answer> No: <answer>no</answer>", BLOCKS),
    (Tags.NONE, f"<think>a</think>{FENCED}{TURN}<think>b</think>```input\n4\n```", BLOCKS),
    # The tag as text of a program.
    (Tags.THINK_ANSWER, f"a</think><answer>{block('python', TAG)}</answer>", [Block("python", TAG)]),
]


def test_what_follows_an_answer_is_not_read_in_its_place() -> None:
    found = [(tags, response, read_blocks(response, tags)) for tags, response, _ in RUN_ON]
    assert found == RUN_ON


def test_block_reads_back() -> None:
    assert read_blocks(block("message", "two\nlines"), Tags.NONE) == [Block("message", "two\nlines")]


@pytest.mark.parametrize(
    "part", ["<answer>", "</answer>", "<think>", "</think>", "```\n", "```input\n", "\n"]
)
def test_long_runs_take_linear_time(part: str) -> None:
    def seconds(chars: int) -> float:
        """CPU time to read a run in every kind of tags, the best of five."""
        response, best = part * (chars // len(part)), float("inf")
        for _ in range(5):
            start = time.process_time()
            for tags in Tags:
                read_blocks(response, tags)
            best = min(best, time.process_time() - start)
        return best

    # Sixteen times the text: sixteen times the time if it is linear, 256 times if it is quadratic.
    assert seconds(MAX_CHARS) < 64 * seconds(MAX_CHARS // 16)
