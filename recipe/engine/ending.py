"""Where a response ends: stop strings in vLLM, and in the tokens that are trained on.

vLLM ends a response with the token that completes a stop string in its text. That token may hold more than
the end of it (to many models `>` and a line's end are one); it is trained on whole, and its text is judged
whole. What counts of a text is for the pack to say, and no pack reads on behind an answer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any


def end_with(stop: Sequence[str]) -> dict[str, Any]:
    """Sampling parameters of vLLM for a response that ends with one of these strings, or with an end token.

    vLLM makes text of it only where there are stop strings to look for; we do not read it.
    """
    return {"stop": list(stop), "detokenize": bool(stop)}


def end_at_stop(
    token_ids: Sequence[int], stop: Sequence[str], decode: Callable[[Sequence[int]], str]
) -> list[int]:
    """The tokens up to the one that completes the first stop string; all of them if none does.

    vLLM may give a few more: it looks once an engine step, which speculative decoding makes several tokens
    long, and waits where a token ends inside a character.
    """

    def has_ended(count: int) -> bool:
        text = decode(token_ids[:count])
        return any(mark in text for mark in stop)

    count = len(token_ids)
    if has_ended(count):
        while has_ended(count - 1):
            count -= 1
    return list(token_ids[:count])
