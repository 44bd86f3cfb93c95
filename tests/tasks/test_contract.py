"""What the recipe counts on, for every pack that `conf/pack` names."""

from __future__ import annotations

import asyncio
import json
import pickle
import random
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from omegaconf import OmegaConf

from tasks.contract import Accepted, Outcome, Rejected, TaskPack, TaskRecord
from tasks.registry import load_pack

ROOT = Path(__file__).parents[2]
PACKS = sorted(path.stem for path in (ROOT / "conf" / "pack").glob("*.yaml"))
TERSE = " terse"
NUM_SAMPLES = 20

pytestmark = pytest.mark.parametrize("name", [*PACKS, *(name + TERSE for name in PACKS)])


def build(name: str) -> TaskPack:
    """Build a pack from its file, as the recipe does, with or without terse prompts."""
    path = ROOT / "conf" / "pack" / f"{name.removesuffix(TERSE)}.yaml"
    file = yaml.safe_load(path.read_text(encoding="utf-8"))
    config = OmegaConf.create({"pack": file, "terse_prompts": name.endswith(TERSE)})
    return load_pack(config.pack)


def samples(pack: TaskPack) -> list[TaskRecord]:
    """Some records of every kind, the same ones each time."""
    rng = random.Random(0)
    return [pack.sample_record(spec.name, rng) for spec in pack.kinds for _ in range(NUM_SAMPLES)]


def through_json(record: TaskRecord) -> TaskRecord:
    """The record as it comes back from a checkpoint."""
    return TaskRecord(record.kind, json.loads(json.dumps(record.payload)))


def test_kind_names_are_legal_and_unique(name: str) -> None:
    names = [spec.name for spec in build(name).kinds]
    assert all(re.fullmatch("[a-z0-9-]+", kind) for kind in names)
    assert len(set(names)) == len(names) > 0


def test_pack_is_called_as_its_file(name: str) -> None:
    assert build(name).name == name.removesuffix(TERSE)
    assert re.fullmatch("[a-z0-9_]+", build(name).name)


def test_reference_kinds_exist_and_have_seeds(name: str) -> None:
    pack = build(name)
    kinds = {spec.name for spec in pack.kinds}
    wanted = {kind for spec in pack.kinds for kind in spec.reference_kinds if spec.num_references}
    assert wanted <= kinds
    assert wanted <= {record.kind for record in pack.seeds()}


def test_unknown_kind_is_refused_with_the_known_ones(name: str) -> None:
    pack = build(name)
    with pytest.raises(ValueError, match=pack.kinds[0].name):
        pack.sample_record("no-such-kind", random.Random(0))


def test_answers_with_their_working_are_right(name: str) -> None:
    pack = build(name)
    for record in samples(pack):
        response = pack.worked_response(record)
        assert asyncio.run(pack.judge(record, response)).outcome is Outcome.CORRECT, response


def test_records_survive_json_and_are_solved_by_their_gold_response(name: str) -> None:
    pack = build(name)
    for record in [*pack.seeds(), *samples(pack)]:
        back = through_json(record)
        assert back == record
        assert asyncio.run(pack.judge(back, pack.gold_response(back))).outcome is Outcome.CORRECT


def test_gold_proposal_is_accepted_as_the_same_task(name: str) -> None:
    pack = build(name)
    for record in [*pack.seeds(), *samples(pack)]:
        found = asyncio.run(pack.accept(record.kind, pack.gold_proposal(record), []))
        assert isinstance(found, Accepted), (record, found)
        assert found.record.kind == record.kind
        assert pack.task_key(found.record) == pack.task_key(record)


def test_sampling_depends_on_the_generator_alone(name: str) -> None:
    assert samples(build(name)) == samples(build(name))
    pack = build(name)
    assert len({pack.task_key(record) for record in samples(pack)}) > 1


def test_task_key_survives_json_and_seeds_are_distinct(name: str) -> None:
    pack = build(name)
    assert all(pack.task_key(through_json(record)) == pack.task_key(record) for record in samples(pack))
    assert len({pack.task_key(record) for record in pack.seeds()}) == len(pack.seeds())


def test_only_measures_that_the_pack_names_are_measured(name: str) -> None:
    pack = build(name)
    records = samples(pack)
    answers = [pack.gold_response(record) for record in records]
    found: set[str] = set()
    for record in records:
        for answer in answers[::NUM_SAMPLES]:
            found |= set(asyncio.run(pack.judge(record, answer)).measures)
        found |= set(asyncio.run(pack.judge(record, pack.gold_response(record))).measures)
    assert found == set(pack.measure_names)


def test_difficulty_is_a_label_that_survives_json(name: str) -> None:
    pack = build(name)
    for record in [*pack.seeds(), *samples(pack), *pack.held_out()[:NUM_SAMPLES]]:
        label = pack.difficulty(record)
        assert re.fullmatch("[a-z0-9-]*", label)
        assert label != "none"
        assert pack.difficulty(through_json(record)) == label


def test_empty_response_is_malformed(name: str) -> None:
    pack = build(name)
    for record in pack.seeds():
        assert asyncio.run(pack.judge(record, "")).outcome is Outcome.MALFORMED
        found = asyncio.run(pack.accept(record.kind, "", []))
        assert isinstance(found, Rejected)
        assert found.outcome is Outcome.MALFORMED


def test_reasons_are_slugs(name: str) -> None:
    pack = build(name)
    for record in pack.seeds():
        found = asyncio.run(pack.accept(record.kind, "no", []))
        assert isinstance(found, Rejected)
        reasons = [found.reason, asyncio.run(pack.judge(record, "no")).reason]
        assert all(re.fullmatch("[a-z0-9]+(-[a-z0-9]+)*", reason) for reason in reasons)


def test_prompts_are_deterministic_chat_messages(name: str) -> None:
    pack, again = build(name), build(name)
    for record in samples(pack):
        spec = pack.spec(record.kind)
        references = [
            next(seed for seed in pack.seeds() if seed.kind == kind) for kind in spec.reference_kinds
        ]
        references = references[:1] * spec.num_references
        prompts = [p.propose_prompt(record.kind, references, random.Random(3)) for p in (pack, again)]
        assert prompts[0] == prompts[1]
        assert pack.solve_prompt(record) == again.solve_prompt(through_json(record))
        for message in [*prompts[0], *pack.solve_prompt(record)]:
            assert set(message) == {"role", "content"}
            assert all(isinstance(part, str) and part for part in message.values())


def test_no_place_of_the_solver_prompt_holds_the_answer(name: str) -> None:
    """An answer may stand in a prompt by chance, as 4 does in `8 - 4`.

    A leak is a place that holds it as a rule. So for each place, counted from the front and from the back:
    the word there is the gold answer in fewer than half of the prompts.
    """
    pack = build(name)
    for spec in pack.kinds:
        rng = random.Random(1)
        hits: dict[int, int] = {}
        for _ in range(100):
            record = pack.sample_record(spec.name, rng)
            content = pack.solve_prompt(record)[-1]["content"]
            gold = words(pack.gold_response(record))
            shown = words(content)
            for place in range(-len(shown), len(shown) - len(gold) + 1):
                run = shown[place:][: len(gold)]
                hits[place] = hits.get(place, 0) + (run == gold)
        assert max(hits.values()) < 50, (spec.name, hits)


def words(text: str) -> list[str]:
    """Numbers and single words of a text, without the marks around them."""
    return [word for word in re.findall(r"-?\w+", text) if word != "boxed"]


def test_pack_pickles(name: str) -> None:
    pack = build(name)
    back = pickle.loads(pickle.dumps(pack))
    assert back.kinds == pack.kinds
    assert samples(back) == samples(pack)


def test_importing_the_pack_loads_no_training_stack(name: str) -> None:
    program = (
        "import sys; from tasks.registry import load_pack; "
        f"load_pack({name.removesuffix(TERSE)!r}); "
        "print([m for m in ('torch', 'verl', 'ray', 'vllm', 'recipe', 'rewards') if m in sys.modules])"
    )
    # -S keeps the site's start-up files out, which may import anything before the first line of ours.
    done = subprocess.run(
        [sys.executable, "-S", "-c", program], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (done.stdout.strip(), done.stderr) == ("[]", "")


def test_name_alone_and_file_build_the_same_pack(name: str) -> None:
    by_name = load_pack({"_target_": name.removesuffix(TERSE), "terse": name.endswith(TERSE)})
    assert samples(by_name) == samples(build(name))
