"""Numbers in binary whose answer is what most attempts say."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from my_pack import MyPack

from tasks.contract import Accepted, Outcome, Rejected, TaskRecord
from tasks.parsing import last_line


class VotesPack(MyPack):
    name = "votes"
    settles = True

    async def settle(self, record: TaskRecord, responses: Sequence[str]) -> Accepted | Rejected:
        """See `TaskPack.settle`."""
        answers = Counter(answer for answer in map(last_line, responses) if answer)
        if not answers or answers.most_common(1)[0][1] < 2:
            return Rejected(Outcome.WRONG, "no-majority")
        return await super().settle(record, responses)


class MaybeVotesPack(VotesPack):
    name = "maybe_votes"

    def __init__(self, *, vote: bool = False) -> None:
        super().__init__()
        self.settles = vote
