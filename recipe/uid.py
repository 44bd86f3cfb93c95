"""The uid of a prompt, which carries its role and kind through verl to the estimator.

verl hands an estimator one string a row, the uid, and nothing else about where the row comes from. So the uid
spells the row's cell: `propose.deduction.<32 hexadecimal digits>`.

Nothing here imports verl.
"""

from __future__ import annotations

import re
import uuid
from typing import NamedTuple

from tasks.contract import Role

# No part may hold an underscore: verl names rows "<uid>_<session>_<index>", and its replay buffer reads the
# uid back as all that stands before the first underscore. No part may hold the separator either.
_KIND = re.compile(r"[a-z0-9-]+")
_UID = re.compile(rf"(?P<role>{'|'.join(Role)})\.(?P<kind>{_KIND.pattern})\.[0-9a-f]{{32}}")


class Cell(NamedTuple):
    """The part of self-play that a response belongs to.

    Attributes:
        role: Who produced it.
        kind: Name of the kind of task.
    """

    role: Role
    kind: str


def make_uid(role: str, kind: str) -> str:
    """A new uid for one prompt of this role and kind, unlike any other.

    Args:
        role: A value of `Role`.
        kind: Name of a kind: lower case letters, digits and hyphens.

    Returns:
        `<role>.<kind>.<32 hexadecimal digits>`, without any underscore. The digits are from the operating
        system, so they name a prompt and must never decide what happens to it.

    Raises:
        ValueError: The role or the kind is not as above.
    """
    if role not in tuple(Role):
        raise ValueError(f"role must be one of {', '.join(Role)}; got {role!r}")
    if _KIND.fullmatch(kind) is None:
        raise ValueError(f"kind must be lower case letters, digits and hyphens; got {kind!r}")
    return f"{role}.{kind}.{uuid.uuid4().hex}"


def parse_uid(uid: str) -> Cell:
    """The role and kind that `make_uid` was given.

    Raises:
        ValueError: `uid` is not from `make_uid`.
    """
    match = _UID.fullmatch(uid)
    if match is None:
        raise ValueError(f"uid must be <role>.<kind>.<32 hexadecimal digits>; got {uid!r}")
    return Cell(role=Role(match["role"]), kind=match["kind"])
