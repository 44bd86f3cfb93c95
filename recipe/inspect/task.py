"""One task from the prompt that asked for it to its reward: proposal, check, attempts, prices."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace

from rich.console import RenderableType
from rich.padding import Padding
from rich.text import Text

from recipe.inspect import InspectError
from recipe.inspect.advantage import Advantage, Advantages
from recipe.inspect.derivation import JOINED, Derivation, derive
from recipe.inspect.entries import Entry, Name, read_entries
from recipe.inspect.index import Index
from recipe.inspect.listing import entry_lines
from recipe.inspect.printing import BAD, QUIET, block, note, title, visible
from rewards.bonus import Combine
from tasks.contract import Message, Role

MOST_NAMED = 5
SHORT_CHARACTERS, SHORT_LINES = 600, 12
"""Most that is shown of an attempt beside others."""

SAME_TASK = """
SELECT step, wave, "index" FROM lines
WHERE record = (SELECT record FROM lines WHERE line = $line)
    AND kind = (SELECT kind FROM lines WHERE line = $line) AND {condition}
ORDER BY line
"""


@dataclass(frozen=True, slots=True)
class Response:
    """A response with its reward explained."""

    entry: Entry
    derivation: Derivation
    advantage: Advantage | None  # None where it has no reward


@dataclass(frozen=True, slots=True)
class Task:
    """A request and all that came of it."""

    id: str
    proposal: Response | None  # None for a request to solve a task that is there already
    num_attempts: int
    attempts: list[Response]  # all of them, or the one that was asked for
    made_by: str | None  # of such a task: the proposal that made it, if one of the ledger did
    asked_again: list[str]  # later requests to solve the same task

    def parts(self, width: int) -> Iterator[RenderableType]:
        """As it is printed."""
        first = (self.proposal or self.attempts[0]).entry
        where = "seeding" if first.step == 0 else f"step {first.step}"
        yield title(f"task {self.id}  {first.kind}  {where}  line {first.line} of the ledger")
        if self.proposal is not None:
            yield from _prompt("the proposer's prompt", self.proposal.entry.prompt)
            yield title("the proposal")
            yield from _response(self.proposal, width, whole=True)
            yield from _cells([self.proposal])
        elif self.made_by is not None:
            yield note(f"the task was made by {self.made_by}")
        yield from _record(first)
        if self.attempts:
            yield from _prompt("the solver's prompt", self.attempts[0].entry.prompt)
            of_all = "" if self.num_attempts == len(self.attempts) else f" of {self.num_attempts}"
            yield title(f"attempts: {len(self.attempts)}{of_all}")
            for attempt in self.attempts:
                yield from _response(attempt, width, whole=len(self.attempts) == 1)
            yield from _cells(self.attempts)
        if self.asked_again:
            more = (
                ""
                if len(self.asked_again) <= MOST_NAMED
                else f" and {len(self.asked_again) - MOST_NAMED} more"
            )
            yield note(f"asked again as {', '.join(self.asked_again[:MOST_NAMED])}{more}")


def _prompt(words: str, messages: list[Message]) -> Iterator[RenderableType]:
    yield title(words)
    for message in messages:
        yield note(f"  {message['role']}")
        yield block(message["content"], indent=4)


def _record(entry: Entry) -> Iterator[RenderableType]:
    yield title("the task")
    if entry.record is None:
        yield note("  none: the proposal was refused")
        return
    labels = (("level", entry.level), ("structure", entry.structure))
    known = [f"{name} {label}" for name, label in labels if label is not None]
    if known:
        yield note(f"  {', '.join(known)}")
    yield block(json.dumps(entry.record, ensure_ascii=False))


def _response(response: Response, width: int, *, whole: bool) -> Iterator[RenderableType]:
    """A response, what became of it, and its reward."""
    head, _ = entry_lines(response.entry, width)
    yield head
    text = response.entry.response
    yield block(text) if whole else block(text, 2, SHORT_CHARACTERS, SHORT_LINES)
    yield from (Padding(line, (0, 0, 0, 2)) for line in _reward(response))


def _reward(response: Response) -> Iterator[Text]:
    """The lines that explain a reward."""
    derivation, advantage = response.derivation, response.advantage
    measured = response.entry.features or response.entry.measures
    if measured:
        yield note("measured: " + ", ".join(f"{name} {value:g}" for name, value in measured.items()))
    if derivation.reward is None:
        yield Text(f"no reward: {derivation.why}")
        return
    for item in derivation.items:
        yield Text.assemble(f"{item.value:+.6g}  ", visible(item.name), (f"  {visible(item.why)}", QUIET))
    if derivation.combine is not None:
        yield note(f"azr.bonus.combine={derivation.combine}: {JOINED[Combine(derivation.combine)]}")
    if len(derivation.items) != 1 or not derivation.adds_up:
        yield Text(f"{derivation.reward:+.6g}  reward in the ledger", "" if derivation.adds_up else BAD)
    if derivation.why:
        yield Text(visible(derivation.why), BAD)
    if advantage is not None and advantage.value is not None:
        yield Text(f"{advantage.value:+.6g}  advantage")


def _cells(responses: list[Response]) -> Iterator[Text]:
    """What the advantages of these are made of, once a cell."""
    found = [one.advantage for one in responses if one.advantage is not None]
    yield from map(note, dict.fromkeys(_made_of(advantage) for advantage in found))


def _made_of(advantage: Advantage) -> str:
    known = "advantages unknown" if advantage.value is None else "advantage"
    return f"{known}: {advantage.in_words('reward')}"


def read_task(index: Index, name: Name) -> Task:
    """The task of this name; of an attempt's name, the task with this attempt alone.

    Raises:
        InspectError: There is none, or several waves of seeding have one.
    """
    name = replace(name, wave=_wave(index, name))
    at = {"step": name.step, "wave": name.wave, "index": name.index}
    entries = read_entries(index, 'one.step = $step AND one.wave = $wave AND one."index" = $index', at)
    proposals = [entry for entry in entries if entry.role == Role.PROPOSE]
    attempts = [entry for entry in entries if entry.role == Role.SOLVE]
    num_attempts = len(attempts)
    if name.attempt is not None:
        attempts = [entry for entry in attempts if entry.attempt == name.attempt]
        if not attempts:
            raise InspectError(f"{replace(name, attempt=None)} has no attempt {name.attempt} in the ledger")
    advantages = Advantages(index)
    made_by, asked_again = None, []
    if entries[0].record is not None:
        asked_again = _same(index, entries[0], "role = 'solve' AND attempt = 0 AND line > $line", name)
        if not proposals:
            made = _same(index, entries[0], "role = 'propose' AND line < $line", name)
            made_by = made[-1] if made else None
    return Task(
        id=str(name),
        proposal=_explained(index, advantages, proposals[0]) if proposals else None,
        num_attempts=num_attempts,
        attempts=[_explained(index, advantages, attempt) for attempt in attempts],
        made_by=made_by,
        asked_again=asked_again,
    )


def _wave(index: Index, name: Name) -> int:
    """The wave that a name means; 0 in training."""
    of_index = 'step = $step AND "index" = $index'
    at = {"step": name.step, "index": name.index}
    found = index.rows(f"SELECT DISTINCT wave FROM lines WHERE {of_index} ORDER BY wave", at)
    waves = [row["wave"] for row in found]
    if name.wave in waves:
        return name.wave
    if not waves or name.wave:
        raise InspectError(
            f"the ledger has no {replace(name, attempt=None)}; {_what_there_is(index, name.step)}"
        )
    if len(waves) > 1:
        names = ", ".join(str(replace(name, wave=wave)) for wave in waves)
        raise InspectError(f"{name} is in several waves of seeding; say which: {names}")
    return int(waves[0])


def _what_there_is(index: Index, step: int) -> str:
    found = index.row(
        'SELECT min("index") AS low, max("index") AS high FROM lines WHERE step = $step', {"step": step}
    )
    if found["low"] is not None:
        return f"step {step} has {step}/{found['low']} to {step}/{found['high']}"
    ends = index.row("SELECT min(step) AS first, max(step) AS last FROM lines")
    return f"it has the steps {ends['first']} to {ends['last']}"


def _same(index: Index, entry: Entry, condition: str, name: Name) -> list[str]:
    """Names of the requests with the same task."""
    rows = index.rows(SAME_TASK.format(condition=condition), {"line": entry.line})
    names = [Name(row["step"], row["wave"], row["index"]) for row in rows]
    return [str(each) for each in names if each != replace(name, attempt=None)]


def _explained(index: Index, advantages: Advantages, entry: Entry) -> Response:
    advantage = None if entry.reward is None else advantages.of(entry)
    return Response(entry, derive(index.run, entry), advantage)
