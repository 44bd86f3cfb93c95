"""The tiny model: what it is trained on, how, and how it is kept."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from dataclasses import fields, replace
from itertools import islice
from pathlib import Path

import pytest

from recipe.run import model_folder
from tasks.contract import KindSpec, Role, TaskPack, TaskRecord
from tasks.registry import load_pack


@pytest.fixture(scope="module", autouse=True)
def stack() -> None:
    """Import torch when a test runs: it takes seconds, and every pytest collects this file."""
    global torch, AutoModelForCausalLM, AutoTokenizer, TinyModelConfig, cache, ensure_tiny_model, main, SMALL
    global MANIFEST, model_path, build_tokenizer, Transcript, stream_transcripts, stream_warmup
    global IGNORED, MICROBATCH_TOKENS, Example, average_gradients, build_model, collate, deterministic_torch
    global encode, learning_rate_scale, microbatches, summed_loss, warm_up, muon, orthogonalize
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from recipe.tiny_model import TinyModelConfig, cache
    from recipe.tiny_model.__main__ import main
    from recipe.tiny_model.cache import MANIFEST, ensure_tiny_model, model_path
    from recipe.tiny_model.muon import muon, orthogonalize
    from recipe.tiny_model.tokenizer import build_tokenizer
    from recipe.tiny_model.transcripts import Transcript, stream_transcripts, stream_warmup
    from recipe.tiny_model.warmup import (
        IGNORED,
        MICROBATCH_TOKENS,
        Example,
        average_gradients,
        build_model,
        collate,
        deterministic_torch,
        encode,
        learning_rate_scale,
        microbatches,
        summed_loss,
        warm_up,
    )

    SMALL = TinyModelConfig(
        hidden_size=32, intermediate_size=32, num_layers=1, steps=3, batch_size=4, num_processes=1
    )


@pytest.fixture(scope="module")
def pack() -> TaskPack:
    return load_pack("arithmetic")


def test_default_model_has_between_half_a_million_and_three_million_parameters() -> None:
    config = TinyModelConfig()
    model = build_model(config, build_tokenizer(config.max_positions))
    assert 500_000 <= model.num_parameters() <= 3_000_000
    assert model.config.max_position_embeddings <= 1024
    assert model.lm_head.weight is model.model.embed_tokens.weight
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"hidden_size": 48}, "hidden_size"),
        ({"steps": 0}, "steps"),
        ({"batch_size": 0}, "batch_size"),
        ({"learning_rate": 0.0}, "learning_rate"),
        ({"rise_share": 1.0}, "rise_share"),
        ({"propose_share": 1.5}, "propose_share"),
    ],
)
def test_config_out_of_range_is_refused_by_name(changes: dict[str, float], name: str) -> None:
    with pytest.raises(ValueError, match=f"TinyModelConfig.{name} must"):
        replace(TinyModelConfig(), **changes)


@pytest.mark.parametrize("role", [Role.PROPOSE, Role.SOLVE])
def test_no_held_out_task_is_trained_on(monkeypatch: pytest.MonkeyPatch, role: Role) -> None:
    """Watch the demo's stream where the warm-up takes from it, one role at a time to see more of each."""
    pack = load_pack({"_target_": "arithmetic", "terse": True})
    config = replace(SMALL, steps=30, batch_size=100, propose_share=float(role is Role.PROPOSE), seed=0)
    trained: list[Transcript] = []

    def watch(tokenizer: object, transcripts: list[Transcript], max_tokens: int) -> list[Example]:
        trained.extend(transcripts)
        return [Example([1, 2], 1)]

    monkeypatch.setattr("recipe.tiny_model.warmup.encode", watch)
    tokenizer = build_tokenizer(config.max_positions)
    warm_up(build_model(config, tokenizer), tokenizer, stream_warmup(pack, config), config)

    assert len(trained) == config.steps * config.batch_size
    assert {transcript.role for transcript in trained} == {role}
    held_out = {pack.task_key(record) for record in pack.held_out()}
    seen = {pack.task_key(record) for transcript in trained for record in transcript.records}
    assert not seen & held_out
    questions = {pack.solve_prompt(record)[0]["content"] for record in pack.held_out()}
    assert not questions & {transcript.messages[0]["content"] for transcript in trained}


def test_held_out_tasks_would_be_in_the_stream_if_they_were_not_dropped(
    pack: TaskPack, monkeypatch: pytest.MonkeyPatch
) -> None:
    held_out = {pack.task_key(record) for record in pack.held_out()}
    monkeypatch.setattr(type(pack), "held_out", lambda self: [])
    stream = islice(stream_transcripts(pack, 0.5, 0.25, 0), 1000)
    assert any(pack.task_key(record) in held_out for transcript in stream for record in transcript.records)


def test_stream_is_repeatable_and_has_every_role_and_kind(pack: TaskPack) -> None:
    first = list(islice(stream_transcripts(pack, 0.5, 0.25, 3), 200))
    assert first == list(islice(stream_transcripts(pack, 0.5, 0.25, 3), 200))
    assert first != list(islice(stream_transcripts(pack, 0.5, 0.25, 4), 200))
    assert {(transcript.role, transcript.records[0].kind) for transcript in first} == {
        (role, spec.name) for role in Role for spec in pack.kinds
    }


def test_stream_shows_the_packs_own_text_and_no_reference_twice(pack: TaskPack) -> None:
    for transcript in islice(stream_transcripts(pack, 0.5, 0.25, 0), 200):
        record, *references = transcript.records
        if transcript.role is Role.SOLVE:
            assert transcript.messages == pack.solve_prompt(record)
            assert transcript.response in (pack.gold_response(record), pack.worked_response(record))
            assert references == []
        else:
            assert transcript.response == pack.gold_proposal(record)
            assert len(references) == pack.spec(record.kind).num_references
            assert len({pack.task_key(shown) for shown in transcript.records}) == len(transcript.records)


def test_references_come_first_and_the_proposal_depends_on_them(
    pack: TaskPack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Here it is one more than the first operand of the only reference, so every proposal tells which."""
    monkeypatch.setattr(type(pack), "held_out", lambda self: [])
    monkeypatch.setattr(
        type(pack),
        "warmup_task",
        lambda self, kind, rng: TaskRecord("deduction", {"a": rng.randint(0, 9), "op": "+", "b": 20}),
    )
    monkeypatch.setattr(
        type(pack),
        "warmup_proposal",
        lambda self, kind, references, rng: TaskRecord(
            "deduction", {**references[0].payload, "a": references[0].payload["a"] + 1}
        ),
    )
    monkeypatch.setattr(type(pack), "kinds", (KindSpec("deduction", ("deduction",), 1),))
    for transcript in islice(stream_transcripts(pack, 0.5, 0.25, 0), 50):
        record, *references = transcript.records
        for shown in references:
            assert transcript.messages == pack.propose_prompt("deduction", [shown], random.Random(0))
            assert record.payload["a"] == shown.payload["a"] + 1
        assert transcript.role is Role.PROPOSE or record.payload["b"] == 20


@pytest.mark.parametrize("worked_share", [0.0, 1.0])
def test_share_of_answers_that_show_their_working_is_kept(pack: TaskPack, worked_share: float) -> None:
    respond = pack.worked_response if worked_share else pack.gold_response
    for transcript in islice(stream_transcripts(pack, 0.0, worked_share, 0), 100):
        assert transcript.response == respond(transcript.records[0])


def test_share_of_answers_with_working_falls_in_the_last_part(pack: TaskPack) -> None:
    config = replace(
        SMALL,
        steps=10,
        batch_size=20,
        propose_share=0.0,
        worked_share=1.0,
        last_worked_share=0.0,
        last_part=0.3,
    )
    stream = stream_warmup(pack, config)
    for transcript in islice(stream, 7 * 20):
        assert transcript.response == pack.worked_response(transcript.records[0])
    for transcript in islice(stream, 3 * 20):
        assert transcript.response == pack.gold_response(transcript.records[0])


def test_a_pack_that_draws_only_held_out_tasks_is_refused(
    pack: TaskPack, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = pack.held_out()[0]
    monkeypatch.setattr(type(pack), "sample_record", lambda self, kind, rng: record)
    with pytest.raises(ValueError, match="outside the held-out set"):
        next(stream_transcripts(pack, 0.0, 0.25, 0))


def test_loss_is_on_response_tokens_only() -> None:
    inputs, targets = collate([Example([10, 11, 12, 13, 14], 3), Example([20, 21, 22], 2)], pad_id=99)
    assert inputs.tolist() == [[10, 11, 12, 13], [20, 21, 99, 99]]
    assert targets.tolist() == [[IGNORED, IGNORED, 13, 14], [IGNORED, 22, IGNORED, IGNORED]]


def test_encoded_response_ends_with_the_turn_marker(pack: TaskPack) -> None:
    tokenizer = build_tokenizer(1024)
    transcript = next(stream_transcripts(pack, 0.0, 0.25, 0))
    (example,) = encode(tokenizer, [transcript], 1024)
    assert tokenizer.decode(example.tokens[example.num_prompt_tokens :]) == transcript.response + "<|im_end|>"
    prompt = tokenizer.apply_chat_template(transcript.messages, add_generation_prompt=True)["input_ids"]
    assert example.tokens[: example.num_prompt_tokens] == prompt


def test_a_transcript_longer_than_the_model_is_refused(pack: TaskPack) -> None:
    with pytest.raises(ValueError, match="max_positions must hold every transcript"):
        encode(build_tokenizer(16), [next(stream_transcripts(pack, 0.0, 0.25, 0))], 16)


def test_microbatches_hold_every_example_once_within_the_bound() -> None:
    examples = [Example(list(range(length)), 1) for length in (700, 30, 500, 30, 800, 2, 900)]
    groups = list(microbatches(examples))
    assert sorted(len(example.tokens) for group in groups for example in group) == [
        2,
        30,
        30,
        500,
        700,
        800,
        900,
    ]
    assert len(groups) == 5
    for group in groups:
        assert len(group) * max(len(example.tokens) for example in group) <= MICROBATCH_TOKENS


def test_padding_does_not_change_the_loss() -> None:
    model = build_model(SMALL, build_tokenizer(64))
    short, long = Example([1, 2, 3], 1), Example([4, 5, 6, 7, 8, 9], 2)
    together = summed_loss(model, *collate([short, long], pad_id=0))
    apart = sum(summed_loss(model, *collate([example], pad_id=0)) for example in (short, long))
    torch.testing.assert_close(together, apart)


def test_a_step_follows_the_mean_over_response_tokens() -> None:
    examples = [Example([1, 2, 3], 2), Example([4, 5, 6, 7, 8, 9], 1)]
    inputs, targets = collate(examples, pad_id=0)
    model = build_model(SMALL, build_tokenizer(64))
    torch.nn.functional.cross_entropy(model(inputs).logits.flatten(0, 1), targets.flatten()).backward()
    expected = [parameter.grad.clone() for parameter in model.parameters() if parameter.grad is not None]
    model.zero_grad()
    for example in examples:
        summed_loss(model, *collate([example], pad_id=0)).backward()
    average_gradients(model, torch.tensor(1 + 5))
    averaged = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
    torch.testing.assert_close(averaged, expected)


def test_learning_rate_rises_then_falls() -> None:
    config = replace(SMALL, steps=100, rise_share=0.1)
    scales = [learning_rate_scale(step, config) for step in range(100)]
    assert scales[:11] == sorted(scales[:11])
    assert scales[10] == max(scales) == 1.0
    assert scales[10:] == sorted(scales[10:], reverse=True)
    assert 0 < scales[-1] < 0.01 < scales[0]


def test_torch_settings_are_put_back() -> None:
    before = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    with deterministic_torch():
        assert torch.get_num_threads() == 1
        assert torch.are_deterministic_algorithms_enabled()
    assert before == (torch.get_num_threads(), torch.are_deterministic_algorithms_enabled())


def test_same_configuration_gives_the_same_bits(pack: TaskPack, tmp_path: Path) -> None:
    torch.manual_seed(1)
    first = ensure_tiny_model(pack, SMALL, tmp_path / "a")
    torch.manual_seed(2)
    second = ensure_tiny_model(pack, SMALL, tmp_path / "b")
    assert first.name == second.name
    assert (first / "model.safetensors").read_bytes() == (second / "model.safetensors").read_bytes()


def test_a_matrix_is_made_orthogonal_by_five_rounds() -> None:
    """One number x has the singular value x / |x| = 1, and p(s) = 3.4445 s - 4.775 s^3 + 2.0315 s^5:

    p(1) = 0.701; p(0.701) = 2.4146 - 1.6449 + 0.3439 = 1.1136; p(1.1136) = 0.7208; p(0.7208) = 1.0899;
    p(1.0899) = 3.7542 - 6.1820 + 3.1243 = 0.6965.
    """
    assert orthogonalize(torch.tensor([[-2.0]])).item() == pytest.approx(-0.6965, abs=2e-3)


@pytest.mark.parametrize("shape", [(8, 24), (24, 8)])
def test_muon_in_fp32_goes_where_that_of_torch_goes(shape: tuple[int, int]) -> None:
    torch.manual_seed(0)
    ours, theirs = (torch.nn.Parameter(torch.full(shape, 0.5)) for _ in range(2))
    options = {"lr": 0.02, "weight_decay": 0.01}
    optimizers = muon([ours], **options), torch.optim.Muon([theirs], **options)
    for _ in range(4):
        ours.grad = torch.randn(shape)
        theirs.grad = ours.grad.clone()
        for optimizer in optimizers:
            optimizer.step()
    moved = (theirs - 0.5).norm()
    assert (ours - theirs).norm() < 0.02 * moved  # bfloat16 keeps eight bits
    spectrum = torch.linalg.svdvals(orthogonalize(torch.randn(shape)))
    assert spectrum.min() > 0.6
    assert spectrum.max() < 1.3


@pytest.mark.slow
def test_processes_share_the_work_and_come_to_the_weights_of_one(
    pack: TaskPack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = ensure_tiny_model(pack, SMALL, tmp_path)
    config = replace(SMALL, num_processes=2)
    monkeypatch.chdir(tmp_path)
    first = ensure_tiny_model(pack, config, Path("a"))  # a relative path, as on the command line
    second = ensure_tiny_model(pack, config, tmp_path / "b")
    assert (first / "model.safetensors").read_bytes() == (second / "model.safetensors").read_bytes()
    weights = [AutoModelForCausalLM.from_pretrained(path).state_dict() for path in (alone, first)]
    for name, value in weights[0].items():
        # Gradients are summed in another order, and three steps of Muon multiply the difference.
        torch.testing.assert_close(weights[1][name], value, rtol=1e-2, atol=1e-3)
    counts = [json.loads((path / MANIFEST).read_text())["warmup"]["num_tokens"] for path in (alone, first)]
    assert counts[0] == counts[1]


def test_building_leaves_the_callers_random_state_alone(pack: TaskPack, tmp_path: Path) -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    ensure_tiny_model(pack, SMALL, tmp_path)
    assert torch.equal(torch.rand(3), expected)


def test_built_model_loads_and_says_how_it_came_about(pack: TaskPack, tmp_path: Path) -> None:
    path = ensure_tiny_model(pack, SMALL, tmp_path)
    model = AutoModelForCausalLM.from_pretrained(path)
    tokenizer = AutoTokenizer.from_pretrained(path)
    assert model.config.vocab_size == len(tokenizer)
    assert model.generation_config.eos_token_id == tokenizer.eos_token_id
    manifest = json.loads((path / MANIFEST).read_text(encoding="utf-8"))
    assert manifest["config"] == {field.name: getattr(SMALL, field.name) for field in fields(SMALL)}
    assert manifest["num_parameters"] == model.num_parameters()
    assert manifest["warmup"]["loss"] > 0
    assert set(manifest["versions"]) == {"python", "torch", "transformers"}


def test_second_call_builds_nothing(pack: TaskPack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = ensure_tiny_model(pack, SMALL, tmp_path)
    monkeypatch.setattr(cache, "warm_up", None)
    assert ensure_tiny_model(pack, SMALL, tmp_path) == path


def test_interrupted_build_leaves_nothing_that_is_used(
    pack: TaskPack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(folder: Path) -> None:
        assert (folder / "model.safetensors").is_file()
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(model_folder, "_flush", interrupt)
        ensure_tiny_model(pack, SMALL, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_leftover_of_a_killed_build_is_not_used(pack: TaskPack, tmp_path: Path) -> None:
    path = model_path(pack, SMALL, tmp_path)
    leftover = tmp_path / f".{path.name}-killed"
    leftover.mkdir()
    assert ensure_tiny_model(pack, SMALL, tmp_path) == path
    assert (path / MANIFEST).is_file()


def test_a_build_that_loses_the_race_uses_the_winners_model(
    pack: TaskPack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = model_path(pack, SMALL, tmp_path)

    def finish_elsewhere_first(folder: Path) -> None:
        path.mkdir()
        (path / MANIFEST).write_text("the winner's", encoding="utf-8")

    monkeypatch.setattr(model_folder, "_flush", finish_elsewhere_first)
    assert ensure_tiny_model(pack, SMALL, tmp_path) == path
    assert (path / MANIFEST).read_text(encoding="utf-8") == "the winner's"
    assert list(tmp_path.iterdir()) == [path]


def test_every_field_of_the_config_is_part_of_the_name(pack: TaskPack, tmp_path: Path) -> None:
    for field in fields(TinyModelConfig):
        value = getattr(SMALL, field.name)
        other = value / 2 if isinstance(value, float) else value * 2 + (field.name == "seed")
        changed = replace(SMALL, **{field.name: other})
        assert model_path(pack, changed, tmp_path) != model_path(pack, SMALL, tmp_path), field.name


def test_knobs_and_held_out_set_of_the_pack_are_part_of_the_name(
    pack: TaskPack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = model_path(pack, SMALL, tmp_path)
    wider = load_pack({"_target_": "arithmetic", "deduction_max": 100})
    assert model_path(wider, SMALL, tmp_path) != path
    held_out = pack.held_out()
    with monkeypatch.context() as patch:
        patch.setattr(type(pack), "held_out_version", pack.held_out_version + 1)
        patch.setattr(type(pack), "held_out", lambda self: held_out)
        assert model_path(pack, SMALL, tmp_path) != path
    with monkeypatch.context() as patch:
        # Tasks that are held out already: the stream stays what it was.
        patch.setattr(type(pack), "held_out", lambda self: [*held_out, held_out[0], held_out[0]])
        assert model_path(pack, SMALL, tmp_path) != path


def test_command_line_builds_and_then_finds(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--out", str(tmp_path)]
    for field in fields(SMALL):
        arguments += ["--" + field.name.replace("_", "-"), str(getattr(SMALL, field.name))]
    assert main(arguments) == 0
    assert "warming up" in capsys.readouterr().out
    assert main(arguments) == 0
    output = capsys.readouterr().out
    (path,) = tmp_path.iterdir()
    assert "built before" in output
    assert output.splitlines()[-1].split() == ["path", str(path)]


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--pack", "nothing-like-it"], "nothing-like-it"),
        (["--knob", "no_such_knob=1"], "no_such_knob"),
        (["--knob", "terse"], "KNOB=VALUE"),
        (["--knob", "terse=yes"], "pack.terse must be true or false; got 'yes'"),
        (["--steps", "0"], "TinyModelConfig.steps must"),
    ],
)
def test_command_line_refuses_a_mistake(
    capsys: pytest.CaptureFixture[str], arguments: list[str], complaint: str
) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(arguments)
    assert complaint in capsys.readouterr().err


def test_command_line_passes_knobs_to_the_pack(tmp_path: Path) -> None:
    arguments = ["--knob", "terse=true", "--out", str(tmp_path)]
    for field in fields(SMALL):
        arguments += ["--" + field.name.replace("_", "-"), str(getattr(SMALL, field.name))]
    assert main(arguments) == 0
    terse = load_pack({"_target_": "arithmetic", "terse": True})
    assert list(tmp_path.iterdir()) == [model_path(terse, SMALL, tmp_path)]


@pytest.mark.slow
def test_verl_and_vllm_are_not_imported() -> None:
    program = (
        "import sys, recipe.tiny_model.__main__\n"
        "raise SystemExit(any(name.split('.')[0] in ('verl', 'vllm', 'ray') for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
