"""What the ledger says of a stretch of steps, in numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from recipe.inspect.filters import Steps, Where
from recipe.inspect.index import Index

MOST_STRETCHES = 10

NUMBERS = """
SELECT {place} AS place,
    count(*) FILTER (role = 'propose') AS proposals,
    count(*) FILTER (role = 'propose' AND reason = '') AS accepted,
    count(*) FILTER (role = 'propose' AND reason = 'surplus') AS surplus,
    count(*) FILTER (role = 'propose' AND reason = 'duplicate') AS duplicates,
    count(*) FILTER (role = 'propose' AND outcome = 'malformed') AS malformed,
    avg(solve_rate) FILTER (role = 'propose') AS solve_rate,
    avg((solve_rate > 0 AND solve_rate < 1)::INT) FILTER (role = 'propose') AS learnable_share,
    avg(reward) FILTER (role = 'propose') AS proposer_reward,
    count(DISTINCT hash(response)) FILTER (role = 'propose') AS distinct_responses,
    avg(length(response)) FILTER (role = 'propose') AS proposal_characters,
    count(*) FILTER (role = 'solve') AS attempts,
    avg((outcome = 'correct')::INT) FILTER (role = 'solve') AS accuracy,
    avg((outcome <> 'malformed')::INT) FILTER (role = 'solve') AS attempt_format_rate,
    avg(reward) FILTER (role = 'solve') AS solver_reward,
    avg(length(response)) FILTER (role = 'solve') AS attempt_characters
FROM lines WHERE {condition} AND step BETWEEN $from_step AND $to_step
GROUP BY place
"""

STRUCTURES = """
SELECT {place} AS place, count(structure) AS known, count(DISTINCT structure) AS kinds
FROM lines JOIN tasks USING (line)
WHERE {condition} AND role = 'propose' AND step BETWEEN $from_step AND $to_step
GROUP BY place
"""


@dataclass(frozen=True, slots=True)
class Numbers:
    """A stretch of steps. Shares are of its proposals or attempts; None where there are none."""

    first_step: int
    last_step: int
    proposals: int = 0
    accepted: int = 0  # valid, new and wanted
    surplus: int = 0  # valid and new, when their step had all that it wanted
    duplicates: int = 0
    malformed: int = 0
    solve_rate: float | None = None  # mean of the proposals that were attempted
    learnable_share: float | None = None  # of those: solved at times and not always
    proposer_reward: float | None = None  # mean of what was trained on
    distinct_responses: int = 0  # of the proposals
    distinct_structures: int | None = None  # of the accepted proposals; None where the pack knows none
    proposal_characters: float | None = None  # mean length of a proposal
    attempts: int = 0
    accuracy: float | None = None  # share of right attempts
    attempt_format_rate: float | None = None  # share of attempts that could be read
    solver_reward: float | None = None  # mean of what was trained on
    attempt_characters: float | None = None  # mean length of an attempt

    @property
    def steps(self) -> Steps:
        """The stretch."""
        return Steps(self.first_step, self.last_step)

    def share(self, count: int) -> float | None:
        """So many proposals as a share of all."""
        return count / self.proposals if self.proposals else None


def stretches(index: Index, where: Where, most: int = MOST_STRETCHES) -> list[Steps]:
    """The steps that a condition selects, cut into at most so many stretches, the seeding one of its own."""
    found = index.row(
        f"SELECT min(step) AS first, max(step) AS last, min(step) FILTER (step > 0) AS trained "
        f"FROM lines WHERE {where.condition}",
        where.values,
    )
    if found["first"] is None:
        return []
    made = [Steps(0, 0)] if found["first"] == 0 else []
    if found["trained"] is None:
        return made
    first, last = found["trained"], found["last"]
    each = -(-(last - first + 1) // max(most - len(made), 1))
    made += [Steps(begin, min(begin + each - 1, last)) for begin in range(first, last + 1, each)]
    return made


def place_of_step(steps: Sequence[Steps]) -> str:
    """SQL for the number of the stretch that a line is of."""
    cases = " ".join(
        f"WHEN step BETWEEN {one.first} AND {one.last} THEN {place}" for place, one in enumerate(steps)
    )
    return f"CASE {cases} END"


def read_numbers(index: Index, steps: Sequence[Steps], where: Where) -> list[Numbers]:
    """The numbers of each of these stretches, of the lines that a condition selects."""
    if not steps:
        return []
    place = place_of_step(steps)
    ends = {"from_step": min(one.first for one in steps), "to_step": max(one.last for one in steps)}
    asked = {"place": place, "condition": f"({where.condition})"}
    found = {row.pop("place"): row for row in index.rows(NUMBERS.format(**asked), where.values | ends)}
    for row in index.rows(STRUCTURES.format(**asked), where.values | ends):
        if row["known"] and row["place"] in found:
            found[row["place"]]["distinct_structures"] = row["kinds"]
    return [Numbers(one.first, one.last, **found.get(place, {})) for place, one in enumerate(steps)]
