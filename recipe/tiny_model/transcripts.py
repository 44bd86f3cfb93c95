"""What the tiny model is warmed up on: correct transcripts of both roles, made by the pack itself.

The stream holds no held-out task, neither as the task that is proposed or solved nor as a reference in a
proposer's prompt.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

from recipe.tiny_model.config import TinyModelConfig
from tasks.contract import Message, Role, TaskPack, TaskRecord

TRANSCRIPTS_VERSION = 3
"""Raise it when the same pack and seed give other transcripts: cached models of the old stream go stale."""

_MAX_DRAWS = 10_000


@dataclass(frozen=True, slots=True)
class Transcript:
    """One prompt and the response to learn."""

    role: Role
    messages: list[Message]
    response: str
    records: tuple[TaskRecord, ...]  # all that the text shows: the one proposed or solved, then references


def stream_transcripts(
    pack: TaskPack, propose_share: float, worked_share: float, seed: int
) -> Iterator[Transcript]:
    """Yield transcripts without end; the same arguments give the same stream.

    Each transcript is a proposal with probability `propose_share`, and its kind is uniform over the pack's.
    An answer shows its working with probability `worked_share`.

    Raises:
        ValueError: The pack draws nothing but held-out or repeated tasks.
    """
    rng = random.Random(seed)
    held_out = frozenset(pack.task_key(record) for record in pack.held_out())
    while True:
        role = Role.PROPOSE if rng.random() < propose_share else Role.SOLVE
        spec = rng.choice(pack.kinds)
        if role is Role.SOLVE:
            record = _draw(pack, held_out, partial(pack.warmup_task, spec.name, rng))
            shows_working = rng.random() < worked_share
            answer = pack.worked_response(record) if shows_working else pack.gold_response(record)
            yield Transcript(role, pack.solve_prompt(record), answer, (record,))
            continue
        shown: list[TaskRecord] = []
        refused = held_out
        for _ in range(spec.num_references):
            kind = rng.choice(spec.reference_kinds)
            shown.append(_draw(pack, refused, partial(pack.warmup_task, kind, rng)))
            refused |= {pack.task_key(shown[-1])}
        record = _draw(pack, refused, partial(pack.warmup_proposal, spec.name, shown, rng))
        messages = pack.propose_prompt(spec.name, shown, rng)
        yield Transcript(role, messages, pack.gold_proposal(record), (record, *shown))


def stream_warmup(pack: TaskPack, config: TinyModelConfig) -> Iterator[Transcript]:
    """Yield the transcripts of a whole warm-up: its first part, then its last part without end."""
    first_steps = round((1 - config.last_part) * config.steps)
    first = stream_transcripts(pack, config.propose_share, config.worked_share, config.seed)
    yield from itertools.islice(first, first_steps * config.batch_size)
    yield from stream_transcripts(pack, config.propose_share, config.last_worked_share, config.seed + 1)


def digest_transcripts(pack: TaskPack, config: TinyModelConfig, count: int = 256) -> str:
    """Hash the pack's identity, its held-out tasks and the first `count` transcripts of both parts.

    It stands for the pack's knobs in the cache key: a knob or a prompt that changes what the model is shown
    changes the digest, and the pack need not list its knobs.
    """
    header = [TRANSCRIPTS_VERSION, pack.name, pack.held_out_version]
    digest = hashlib.sha256(json.dumps(header).encode())
    for record in pack.held_out():
        digest.update(pack.task_key(record).encode())
    for share in (config.worked_share, config.last_worked_share):
        stream = stream_transcripts(pack, config.propose_share, share, config.seed)
        for transcript in itertools.islice(stream, count):
            digest.update(json.dumps([transcript.messages, transcript.response]).encode())
    return digest.hexdigest()


def _draw(pack: TaskPack, refused: frozenset[str], draw: Callable[[], TaskRecord]) -> TaskRecord:
    for _ in range(_MAX_DRAWS):
        record = draw()
        if pack.task_key(record) not in refused:
            return record
    raise ValueError(
        f"the warm-up must have tasks outside the held-out set; {_MAX_DRAWS} draws of kind {record.kind!r} "
        f"of pack {pack.name} gave none. Widen the pack's ranges or shrink its held-out set."
    )
