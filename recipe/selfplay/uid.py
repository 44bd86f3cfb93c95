"""The uid of a row, which carries where it comes from through verl to the estimator.

verl hands an estimator one string a row, the uid, and nothing else about where it comes from. So the uid
spells that: `propose.deduction.<32 hexadecimal digits>`, or `solve.deduction.easy.<32 digits>` where
the difficulty of the task is known. That of a proposal is not when its prompt is sent, so the trainer gives
every row a second uid when the step is settled, before advantages are computed.

Nothing here imports verl.
"""

from __future__ import annotations

import re
import uuid
from typing import NamedTuple

from tasks.contract import Role

# No part may hold an underscore: verl names rows "<uid>_<session>_<index>", and its replay buffer reads the
# uid back as all that stands before the first underscore. No part may hold the separator either.
_NAME = re.compile(r"[a-z0-9-]+")
_UID = re.compile(
    rf"(?P<role>{'|'.join(Role)})\.(?P<kind>{_NAME.pattern})"
    rf"(?:\.(?P<difficulty>{_NAME.pattern}))?\.[0-9a-f]{{32}}"
)


class Origin(NamedTuple):
    """Where a response comes from.

    Attributes:
        role: Who produced it.
        kind: Name of the kind of task.
        difficulty: The pack's label of its task; "" where there is none.
    """

    role: Role
    kind: str
    difficulty: str = ""


def make_uid(role: str, kind: str, difficulty: str = "") -> str:
    """A new uid for responses of this origin, unlike any other.

    Args:
        role: A value of `Role`.
        kind: Name of a kind: lower case letters, digits and hyphens.
        difficulty: A label of the same characters, or "".

    Returns:
        `<role>.<kind>.<32 hexadecimal digits>`, with `.<difficulty>` behind the kind if there is one, and
        without any underscore. The digits are from the operating system, so they name a prompt and must never
        decide what happens to it.

    Raises:
        ValueError: The role, the kind or the difficulty is not as above.
    """
    if role not in tuple(Role):
        raise ValueError(f"role must be one of {', '.join(Role)}; got {role!r}")
    if _NAME.fullmatch(kind) is None:
        raise ValueError(f"kind must be lower case letters, digits and hyphens; got {kind!r}")
    if difficulty and _NAME.fullmatch(difficulty) is None:
        raise ValueError(f"difficulty must be lower case letters, digits and hyphens; got {difficulty!r}")
    return ".".join([role, kind, *([difficulty] if difficulty else []), uuid.uuid4().hex])


def parse_uid(uid: str) -> Origin:
    """What `make_uid` was given.

    Raises:
        ValueError: `uid` is not from `make_uid`.
    """
    match = _UID.fullmatch(uid)
    if match is None:
        raise ValueError(f"uid must be <role>.<kind>[.<difficulty>].<32 hexadecimal digits>; got {uid!r}")
    return Origin(Role(match["role"]), match["kind"], match["difficulty"] or "")
