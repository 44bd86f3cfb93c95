"""How a run is doing: its numbers step by step, what changed most, and what the proposer repeats."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from rich.cells import cell_len
from rich.console import RenderableType
from rich.text import Text

from recipe.inspect.diff import Change, changes_of, changes_table
from recipe.inspect.entries import Entry, read_lines
from recipe.inspect.filters import Filters, Steps, Where
from recipe.inspect.index import Index
from recipe.inspect.listing import list_alarms
from recipe.inspect.mending import Alarm
from recipe.inspect.numbers import Numbers, read_numbers, stretches
from recipe.inspect.printing import (
    BAD,
    NAME,
    NARROW,
    Column,
    count,
    in_one_line,
    note,
    number,
    percent,
    table,
    title,
    visible,
)
from recipe.inspect.rejections import Reason, count_reasons
from recipe.selfplay.types import Refusal
from tasks.contract import Role

MOST_REASONS = 4
MOST_REPEATED = 3

REPEATED = """
SELECT count(*) AS n, max(line) AS example FROM lines
WHERE {condition} AND role = 'propose' AND step BETWEEN $from_step AND $to_step
GROUP BY hash(response) HAVING n > 1 ORDER BY n DESC, example DESC LIMIT {most}
"""


@dataclass(frozen=True, slots=True)
class Repeated:
    """A text that the proposer wrote several times in the newest stretch."""

    count: int
    example: Entry  # the newest


@dataclass(frozen=True, slots=True)
class Summary:
    """A run as a whole, or what filters select of it."""

    pack: str
    reward_profile: str
    last_step: int  # the newest in the ledger
    total_steps: int | None  # that the run is to have
    responses: int
    num_alarms: int
    last_alarm: Alarm | None
    stretches: list[Numbers]  # of steps, the seeding one of its own
    changes: list[Change]  # from the first stretch of training to the newest; none before there are two
    reasons: list[Reason]  # why proposals of the newest stretch were refused, surplus ones aside
    repeated: list[Repeated]  # the most frequent first

    def parts(self, width: int) -> Iterator[RenderableType]:
        """As it is printed."""
        total = "" if self.total_steps is None else f" of {self.total_steps}"
        yield title(
            f"step {self.last_step}{total}, {count(self.responses)} responses; {self.pack}, "
            f"rewards {self.reward_profile}"
        )
        if self.last_alarm is not None:
            last = self.last_alarm
            words = f"{last.alarm} at step {last.step}: {last.sentence}"
            yield Text(f"alarms: {count(self.num_alarms)}; the last, {visible(words)}", BAD)
        if not self.stretches:
            yield note("no responses are like that")
            return
        columns = _columns(self.stretches) if self._proposes() else _columns_of_solver(self.stretches)
        yield table(columns, width)
        if width >= NARROW and self._proposes():
            yield note(LEGEND)
        if self.changes:
            yield from self._changes(width)
        newest = self.stretches[-1].steps.in_words
        if self.reasons:
            yield title(f"refused proposals, {newest}")
            for reason in self.reasons:
                name = f"  {percent(reason.share):>4}  {reason.reason}  "
                yield _example(name, reason.example, width)
        if self.repeated:
            yield title(f"proposals that were written more than once, {newest}")
            for one in self.repeated:
                yield _example(f"  {count(one.count)}x  ", one.example, width)

        yield note(f"more: {', '.join(self._hints())}")

    def _proposes(self) -> bool:
        return any(one.proposals for one in self.stretches)

    def _hints(self) -> Iterator[str]:
        """Views that say more, as they are asked for."""
        trained = [one.steps for one in self.stretches if one.last_step > 0]
        newest = self.stretches[-1].steps
        if len(trained) > 1:
            yield f"diff {trained[0].first}:{trained[0].last} {newest.first}:{newest.last}"
        yield f"{'proposals' if self._proposes() else 'attempts'} --step {newest.first}:{newest.last}"
        yield "rejections"
        yield "level"
        if self.reasons:
            yield f"task {self.reasons[0].example.id}"

    def _changes(self, width: int) -> Iterator[RenderableType]:
        trained = [one for one in self.stretches if one.last_step > 0]
        before, after = str(trained[0].steps), str(trained[-1].steps)
        much = sorted((one for one in self.changes if one.size >= 1), key=lambda one: -one.size)
        yield title(f"what changed most from {trained[0].steps.in_words} to {after}")
        if much:
            yield changes_table(much, before, after, width)
        else:
            yield note("  nothing by much: shares by less than 10 points, lengths by less than a quarter")


def _example(head: str, entry: Entry, width: int) -> Text:
    """An entry behind what is said of it, or below where there is no room."""
    head = visible(head)
    left = width - cell_len(f"{head}{entry.id}  ")
    gap, left = ("  ", left) if left >= NARROW // 3 else ("\n    ", width - 4)
    return Text.assemble(head, (entry.id, NAME), gap, in_one_line(entry.response, left))


def _columns(found: list[Numbers]) -> list[Column]:
    def of_proposals(field: str) -> list[str]:
        return [percent(one.share(getattr(one, field))) for one in found]

    def plain(field: str, show: Callable[[float | None], str]) -> list[str]:
        return [show(getattr(one, field)) for one in found]

    return [
        Column("steps", [str(one.steps) for one in found], is_text=True),
        Column("asked", [count(one.proposals) for one in found], rank=5),
        Column("accept", of_proposals("accepted"), rank=1),
        *([Column("surpl", of_proposals("surplus"), rank=3)] if any(one.surplus for one in found) else []),
        Column("dupl", of_proposals("duplicates"), rank=3),
        Column("malf", of_proposals("malformed"), rank=6),
        Column("unique", of_proposals("distinct_responses"), rank=8),
        Column("solved", plain("solve_rate", percent), rank=2),
        Column("learn", plain("learnable_share", percent), rank=7),
        Column("reward", plain("proposer_reward", number), rank=4),
        Column("right", plain("accuracy", percent), rank=4),
    ]


def _columns_of_solver(found: list[Numbers]) -> list[Column]:
    """For a run, or a part of one, in which nothing was proposed."""
    return [
        Column("steps", [str(one.steps) for one in found], is_text=True),
        Column("attempts", [count(one.attempts) for one in found], rank=3),
        Column("right", [percent(one.accuracy) for one in found], rank=1),
        Column("readable", [percent(one.attempt_format_rate) for one in found], rank=2),
        Column("reward", [number(one.solver_reward) for one in found], rank=4),
        Column("characters", [number(one.attempt_characters, 0) for one in found], rank=5),
    ]


LEGEND = (
    "of proposals: accept, valid, new and wanted; surpl, valid, and one too many; dupl, duplicates; malf, "
    "malformed; unique, distinct texts; solved, mean solve rate; learn, solved at times and not always; "
    "reward, mean. right: of attempts"
)


def summarize(index: Index, filters: Filters) -> Summary:
    """The run, or the part of it that filters select."""
    run, where = index.run, filters.where()
    alarms = list_alarms(index, filters, 1)
    counted = index.row(
        f"SELECT count(*) AS n, coalesce(max(step), 0) AS last FROM lines WHERE {where.condition}",
        where.values,
    )
    numbers = read_numbers(index, stretches(index, where), where)
    trained = [one for one in numbers if one.last_step > 0]
    newest = numbers[-1].steps if numbers else Steps(0, 0)
    return Summary(
        pack=run.pack_name,
        reward_profile=str(run.config.get("reward_profile", "?")),
        last_step=counted["last"],
        total_steps=run.total_steps,
        responses=counted["n"],
        num_alarms=alarms.total,
        last_alarm=alarms.alarms[0] if alarms.alarms else None,
        stretches=numbers,
        changes=changes_of(trained[0], trained[-1]) if len(trained) > 1 else [],
        reasons=_reasons(index, filters, newest),
        repeated=_repeated(index, where, newest),
    )


def _reasons(index: Index, filters: Filters, steps: Steps) -> list[Reason]:
    if filters.role == Role.SOLVE:
        return []
    of_newest = replace(filters, role=Role.PROPOSE.value, steps=steps)
    found = count_reasons(index, of_newest, MOST_REASONS + 1).reasons
    # A surplus task is as good as any, and has a column of its own.
    return [reason for reason in found if reason.reason != Refusal.SURPLUS][:MOST_REASONS]


def _repeated(index: Index, where: Where, steps: Steps) -> list[Repeated]:
    ends = {"from_step": steps.first, "to_step": steps.last}
    query = REPEATED.format(condition=f"({where.condition})", most=MOST_REPEATED)
    rows = index.rows(query, where.values | ends)
    examples = {entry.line: entry for entry in read_lines(index, [row["example"] for row in rows])}
    return [Repeated(row["n"], examples[row["example"]]) for row in rows]
