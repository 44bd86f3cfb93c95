"""A socket of its own for each Ray cluster's weights on their way from a trainer to vLLM.

verl 0.9.1 names the socket after Ray's job, and the first job of every cluster is 01000000. Two runs on one
machine, each with a cluster of its own, would meet at one socket: one's vLLM takes the other's weights, or
waits for ever. Both ends of it are children of one raylet, and Ray tells them which.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any

import wrapt


def keep_apart(transfer: ModuleType) -> None:
    """Have both ends in `transfer`, verl's module, add the raylet to the socket's name.

    Raises:
        AttributeError: verl has no such ends any more.
    """
    for end in ("BucketedWeightSender", "BucketedWeightReceiver"):
        wrapt.wrap_function_wrapper(transfer, f"{end}.__init__", _name_socket)


def _name_socket(
    initialize: Callable[..., None], end: Any, arguments: tuple[Any, ...], named: Mapping[str, Any]
) -> None:
    initialize(*arguments, **named)
    if (raylet := os.environ.get("RAY_RAYLET_PID")) is not None:
        end.zmq_handle = f"{end.zmq_handle}-{raylet}"
