"""The buffer of accepted records."""

from __future__ import annotations

import json
import random
from collections import Counter

import pytest

from recipe.selfplay.buffer import TaskBuffer
from tasks.contract import TaskRecord


def record(kind: str, number: int) -> TaskRecord:
    return TaskRecord(kind, {"n": number})


def filled(num_records: int, capacity: int = 100, *, favours_recent: bool = False) -> TaskBuffer:
    """`num_records` of the kind `a`, and as many of `b`, each of a step of its own."""
    buffer = TaskBuffer(["a", "b"], capacity, favours_recent=favours_recent)
    for number in range(num_records):
        for kind in ("a", "b"):
            buffer.add(record(kind, number), f"{kind}{number}", step=number)
    return buffer


def test_oldest_leaves_first() -> None:
    buffer = TaskBuffer(["a"], capacity=2)
    for number in range(4):
        buffer.add(record("a", number), f"a{number}", step=1)
    assert buffer.keys() == ["a2", "a3"]
    assert buffer.size("a") == 2


def test_capacity_is_for_each_kind() -> None:
    buffer = filled(3, capacity=3)
    assert (buffer.size("a"), buffer.size("b")) == (3, 3)
    buffer.add(record("b", 9), "b9", step=9)
    assert buffer.keys() == ["a0", "a1", "a2", "b1", "b2", "b9"]


@pytest.mark.parametrize("capacity", [0, -1])
def test_buffer_without_room_is_refused(capacity: int) -> None:
    with pytest.raises(ValueError, match=rf"azr\.buffer_capacity must be at least 1; got {capacity}"):
        TaskBuffer(["a"], capacity)


def test_sample_is_without_replacement() -> None:
    buffer = filled(10)
    for seed in range(50):
        drawn = [str(found) for found in buffer.sample(["a"], 6, random.Random(seed))]
        assert len(set(drawn)) == 6


def test_sample_gives_all_there_are_when_asked_for_more() -> None:
    drawn = filled(3).sample(["a"], 5, random.Random(0))
    assert sorted(found.payload["n"] for found in drawn) == [0, 1, 2]
    assert filled(0).sample(["a"], 5, random.Random(0)) == []


def test_sample_is_of_the_kinds_asked_for() -> None:
    buffer = filled(3)
    assert {found.kind for found in buffer.sample(["b"], 3, random.Random(0))} == {"b"}
    assert Counter(found.kind for found in buffer.sample(["a", "b"], 6, random.Random(0))) == {"a": 3, "b": 3}


def test_sample_is_uniform() -> None:
    # 4000 draws of 2 of 4 records: each is in 2000 of them, with a deviation of sqrt(4000 / 4) = 32.
    buffer, rng = filled(4), random.Random(0)
    drawn = Counter(found.payload["n"] for _ in range(4000) for found in buffer.sample(["a"], 2, rng))
    assert drawn.keys() == {0, 1, 2, 3}
    assert all(abs(count - 2000) < 5 * 32 for count in drawn.values())


def test_recent_records_are_drawn_in_proportion_to_their_step() -> None:
    # Steps 0 to 3 weigh 1 to 4. One draw: 1/10, 2/10, 3/10, 4/10 of 10000; the deviation is below 50.
    buffer, rng = filled(4, favours_recent=True), random.Random(0)
    drawn = Counter(found.payload["n"] for _ in range(10_000) for found in buffer.sample(["a"], 1, rng))
    assert all(abs(drawn[n] - 1000 * (n + 1)) < 5 * 50 for n in range(4))


def test_recent_records_are_drawn_without_replacement() -> None:
    buffer = filled(4, favours_recent=True)
    assert {found.payload["n"] for found in buffer.sample(["a"], 9, random.Random(0))} == {0, 1, 2, 3}
    # Two draws, one after the other: n=0 is left out of 1 - P, with P = sum of w/10 * 1/(10-w) over w=2,3,4
    # plus 1/10 = 0.1 + 2/80 + 3/70 + 4/60 = 0.2345.
    rng = random.Random(0)
    hits = sum(0 in {f.payload["n"] for f in buffer.sample(["a"], 2, rng)} for _ in range(10_000))
    assert abs(hits - 2345) < 5 * 43


def test_same_generator_draws_the_same() -> None:
    first, second = (filled(20).sample(["a", "b"], 10, random.Random(4)) for _ in range(2))
    assert first == second
    assert first != filled(20).sample(["a", "b"], 10, random.Random(5))


def test_records_of_a_step_come_oldest_first() -> None:
    buffer = TaskBuffer(["a", "b"], capacity=10)
    for number, step in enumerate([1, 2, 2, 3]):
        buffer.add(record("a", number), f"a{number}", step)
    buffer.add(record("b", 9), "b9", step=2)
    assert buffer.added_at("a", 2) == [record("a", 1), record("a", 2)]
    assert buffer.added_at("a", 4) == []


def test_state_continues_the_exact_stream() -> None:
    whole, rng = filled(8, capacity=9), random.Random(3)
    whole.sample(["a"], 3, rng)
    state = json.loads(json.dumps(whole.state_dict()))
    resumed, resumed_rng = TaskBuffer(["a", "b"], capacity=9), random.Random()
    resumed.load_state_dict(state)
    resumed_rng.setstate(rng.getstate())
    for number in range(8, 20):
        for kind in ("a", "b"):
            for buffer in (whole, resumed):
                buffer.add(record(kind, number), f"{kind}{number}", number)
        assert whole.sample(["a", "b"], 5, rng) == resumed.sample(["a", "b"], 5, resumed_rng)
        assert whole.added_at("a", number - 3) == resumed.added_at("a", number - 3)
    assert whole.state_dict() == resumed.state_dict()


def test_loading_replaces_what_was_there() -> None:
    buffer = filled(5)
    buffer.load_state_dict(filled(2).state_dict())
    assert buffer.keys() == ["a0", "a1", "b0", "b1"]


def test_later_records_do_not_reach_a_state_that_was_taken() -> None:
    buffer = filled(1)
    state = buffer.state_dict()
    buffer.add(record("a", 5), "a5", step=5)
    assert [entry["key"] for entry in state["a"]] == ["a0"]


@pytest.mark.parametrize("kinds", [["a"], ["a", "b", "c"], ["a", "c"], ["b", "a"]])
def test_state_of_other_kinds_is_refused(kinds: list[str]) -> None:
    # The order of kinds decides the order of draws, so it counts.
    with pytest.raises(ValueError) as error:
        TaskBuffer(kinds, capacity=10).load_state_dict(filled(1).state_dict())
    assert str(["a", "b"]) in str(error.value)
    assert str(kinds) in str(error.value)
