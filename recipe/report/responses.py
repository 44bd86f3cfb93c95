"""The responses that can be browsed in the page: columns that are packed, and what was left out of them.

All of a run's responses where they fit. Else every second, third, ... request with all that came of it,
evenly over the steps: a sample, which the page says. Long texts are cut. The ledger has everything.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from recipe.inspect.advantage import Advantage, Advantages
from recipe.inspect.derivation import JOINED, Derivation, derive
from recipe.inspect.entries import Entry, read_entries
from recipe.inspect.index import Index
from rewards.bonus import Combine
from tasks.contract import Message

MOST_RESPONSES = 80_000
MOST_CHARACTERS = 16_000_000
"""Of all texts, together: they pack into a tenth to a sixth, and a browser unpacks them in a second."""

CUT = 2000
"""Characters of one text that are kept."""

NAMED = ("role", "kind", "cell", "level", "outcome", "reason")
"""Columns whose few values have a number each."""

SIZES = f"""
SELECT count(*) AS responses, count(DISTINCT (step, wave, "index")) AS requests,
    sum(least(length(response), {CUT}) + least(length(record), {CUT})) AS characters
FROM lines
"""

CHOSEN = """
(one.step, one.wave, one."index") IN (
    SELECT (step, wave, "index") FROM (
        SELECT step, wave, "index", row_number() OVER (ORDER BY min(line)) AS number
        FROM lines GROUP BY step, wave, "index"
    ) WHERE floor(number * {share}) > floor((number - 1) * {share})
)
"""
"""The requests of a share of all, evenly spaced."""

Columns = dict[str, Any]


@dataclass(slots=True)
class _Numbers:
    """A number for each different value, in the order in which they come."""

    of: dict[Hashable, int] = field(default_factory=dict)

    def __call__(self, value: Hashable) -> int:
        return self.of.setdefault(value, len(self.of))


def read_responses(index: Index, share_of_page: float = 1.0) -> Columns:
    """The responses of a run; `share_of_page` is what the page has room for, of `MOST_RESPONSES` and so on.

    Returns:
        Columns with an entry a response: step, wave, index, attempt, solve_rate, reward, line_after (its line
        in the ledger less that of the response before), response (text), cut (its whole length in characters,
        0 if all is there), and numbers of what stands in `names` (`NAMED`),
        `prompts`, `records` and `derivations`. `left_out` is a sentence.
    """
    sizes = index.row(SIZES)
    share = min(
        1.0,
        share_of_page * MOST_RESPONSES / max(1, sizes["responses"]),
        share_of_page * MOST_CHARACTERS / max(1, sizes["characters"] or 0),
    )
    entries = read_entries(index, "true" if share == 1.0 else CHOSEN.format(share=share), {})
    return _columns(index, entries) | {"left_out": _left_out(index, len(entries), sizes["responses"])}


def _left_out(index: Index, num_kept: int, num_all: int) -> str:
    kept = f"All {num_all:,} responses of the ledger are here"
    if num_kept < num_all:
        kept = (
            f"{num_kept:,} of the ledger's {num_all:,} responses are here: some requests of each step with "
            "all that came of them, evenly spaced"
        )
    more = f"python -m recipe.inspect {index.run.folder}"
    return f"{kept}; of each text the first {CUT:,} characters. The charts are of all. More: {more}"


def _columns(index: Index, entries: Sequence[Entry]) -> Columns:
    names = {name: _Numbers() for name in NAMED}
    prompts, records = _Numbers(), _Numbers()
    explained = _Explained(index)
    columns: Columns = {
        name: [names[name](getattr(entry, name) or "") for entry in entries] for name in NAMED
    }
    columns |= {
        name: [getattr(entry, name) for entry in entries]
        for name in ("step", "wave", "index", "attempt", "solve_rate", "reward")
    }
    lines = [0, *(entry.line for entry in entries)]
    columns["line_after"] = [line - before for before, line in itertools.pairwise(lines)]
    columns["response"] = [entry.response[:CUT] for entry in entries]
    columns["cut"] = [len(entry.response) if len(entry.response) > CUT else 0 for entry in entries]
    columns["prompt"] = [prompts(_prompt(entry.prompt)) for entry in entries]
    columns["record"] = [records(_record(entry)) for entry in entries]
    columns["derivation"] = [explained.number(entry) for entry in entries]
    return columns | {
        "names": {name: list(numbers.of) for name, numbers in names.items()},
        "prompts": list(prompts.of),
        "records": list(records.of),
        "derivations": list(explained.numbers.of),
    }


def _prompt(messages: Iterable[Message]) -> tuple[tuple[str, str], ...]:
    return tuple((message["role"], _shortened(message["content"])) for message in messages)


def _record(entry: Entry) -> str:
    if entry.record is None:
        return ""
    only = next(iter(entry.record.values())) if len(entry.record) == 1 else None
    text = only if isinstance(only, str) else json.dumps(entry.record, ensure_ascii=False, indent=1)
    return _shortened(text)


def _shortened(text: str) -> str:
    return text if len(text) <= CUT else f"{text[:CUT]}\n({len(text) - CUT:,} more characters)"


class _Explained:
    """Derivations of rewards, each once: responses of one outcome and price share theirs."""

    def __init__(self, index: Index) -> None:
        self.numbers = _Numbers()
        self._run = index.run
        self._advantages = Advantages(index)
        self._known: dict[Hashable, int] = {}

    def number(self, entry: Entry) -> int:
        """The number of a response's derivation."""
        key = (
            entry.role,
            entry.outcome,
            entry.reason,
            entry.solve_rate,
            entry.reward,
            entry.cell,
            entry.step,
            entry.proposal_line is None,
            entry.record is None,
            tuple(entry.measures.items()),
            tuple(entry.features.items()),
        )
        if key not in self._known:
            advantage = None if entry.reward is None else self._advantages.of(entry)
            self._known[key] = self.numbers(_terms(derive(self._run, entry), advantage))
        return self._known[key]


def _terms(derivation: Derivation, advantage: Advantage | None) -> tuple[tuple[str, float | None, str], ...]:
    """The rows of a derivation: name, value, and why."""
    if derivation.reward is None:
        return (("no reward", None, derivation.why),)
    rows: list[tuple[str, float | None, str]] = [
        (item.name, item.value, item.why) for item in derivation.items
    ]
    if derivation.combine is not None:
        rows.append((f"azr.bonus.combine={derivation.combine}", None, JOINED[Combine(derivation.combine)]))
    rows.append(("reward", derivation.reward, derivation.why or "as in the ledger"))
    if advantage is not None:
        rows.append(("advantage", advantage.value, advantage.in_words(f"{derivation.reward:g}")))
    return tuple(rows)
