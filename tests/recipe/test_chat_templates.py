"""The first and last tokens of what a model is asked, by both roles, for the families that users train.

Each tokenizer has the special tokens of its family, one token a byte or character beside them, and the
family's chat template, written anew. It begins every text with its begin token where the family's does, so a
template that has one as well would begin with two.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from functools import cache
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from recipe.config import CONF, register
from tasks.arithmetic import ArithmeticPack
from tasks.contract import TaskPack
from tasks.registry import load_pack

CHATML = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def with_default(system: str) -> str:
    """ChatML with a first turn for whoever gives none."""
    turn = f"<|im_start|>system\n{system}<|im_end|>\n"
    return "{% if messages[0]['role'] != 'system' %}" + turn + "{% endif %}" + CHATML


@dataclass(frozen=True)
class Family:
    """A family of models as its tokenizer has it."""

    special: tuple[str, ...]
    begin: str | None  # the begin token
    end: str
    template: str
    first: list[str]  # what a prompt begins with; its characters follow
    last: list[str]  # what it ends with
    pieces: bool = False  # SentencePiece: blanks are marked, and the begin of a text is one


FAMILIES = {
    "Qwen2.5": Family(
        ("<|endoftext|>", "<|im_start|>", "<|im_end|>"),
        None,
        "<|im_end|>",
        with_default("You are Qwen, created by Alibaba Cloud. You are a helpful assistant."),
        ["<|im_start|>", *"system\nYo"],
        ["<|im_end|>", "\n", "<|im_start|>", *"assistant\n"],
    ),
    "Llama 3": Family(
        ("<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"),
        "<|begin_of_text|>",
        "<|eot_id|>",
        "{{ bos_token }}{% for message in messages %}<|start_header_id|>{{ message['role'] }}"
        "<|end_header_id|>\n\n{{ message['content'] | trim }}<|eot_id|>{% endfor %}"
        "{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}",
        ["<|begin_of_text|>", "<|start_header_id|>", *"user", "<|end_header_id|>", "\n", "\n"],
        ["<|eot_id|>", "<|start_header_id|>", *"assistant", "<|end_header_id|>", "\n", "\n"],
    ),
    "Gemma": Family(
        ("<bos>", "<eos>", "<start_of_turn>", "<end_of_turn>"),
        "<bos>",
        "<eos>",
        "{{ bos_token }}{% for message in messages %}<start_of_turn>"
        "{{ 'model' if message['role'] == 'assistant' else message['role'] }}\n"
        "{{ message['content'] | trim }}<end_of_turn>\n{% endfor %}"
        "{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}",
        ["<bos>", "<start_of_turn>", *"user\n"],
        ["<end_of_turn>", "\n", "<start_of_turn>", *"model\n"],
        pieces=True,
    ),
    "Mistral": Family(
        ("<s>", "</s>", "[INST]", "[/INST]"),
        "<s>",
        "</s>",
        "{{ bos_token }}{% for message in messages %}{% if message['role'] == 'user' %}[INST] "
        "{{ message['content'] }}[/INST]{% else %} {{ message['content'] }}{{ eos_token }}{% endif %}"
        "{% endfor %}",
        ["<s>", "[INST]", "\u2581"],
        ["[/INST]"],
        pieces=True,
    ),
    "SmolLM2": Family(
        ("<|endoftext|>", "<|im_start|>", "<|im_end|>"),
        "<|im_start|>",
        "<|im_end|>",
        with_default("You are a helpful AI assistant named SmolLM, trained by Hugging Face"),
        ["<|im_start|>", *"system\nYo"],
        ["<|im_end|>", "\n", "<|im_start|>", *"assistant\n"],
    ),
}


@cache
def tokenizer_of(name: str) -> PreTrainedTokenizerFast:
    """A small tokenizer of the family."""
    family = FAMILIES[name]
    if family.pieces:
        alphabet = ["<unk>", *map(chr, range(10, 127)), "\u2581"]
    else:
        alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocab = {token: i for i, token in enumerate([*family.special, *alphabet])}
    built = Tokenizer(models.BPE(vocab, [], unk_token="<unk>" if family.pieces else None))
    if family.pieces:
        built.normalizer = normalizers.Replace(" ", "\u2581")
        built.decoder = decoders.Replace("\u2581", " ")
    else:
        built.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
        built.decoder = decoders.ByteLevel()
    if family.begin is not None:
        built.post_processor = processors.TemplateProcessing(
            single=f"{family.begin} $A", special_tokens=[(family.begin, vocab[family.begin])]
        )
    return PreTrainedTokenizerFast(
        tokenizer_object=built,
        bos_token=family.begin,
        eos_token=family.end,
        additional_special_tokens=list(family.special),
        chat_template=family.template,
    )


def prompt_ids(name: str, messages: list[dict[str, str]], template: str | None = None) -> list[int]:
    """The tokens of a prompt, as verl's agent loops make them; `template` in the place of the family's."""
    from verl.utils.tokenizer.continuous_token import ContinuousTokenBuilder

    tokenizer: Any = tokenizer_of(name)
    tokenizer.chat_template = template or FAMILIES[name].template
    return list(ContinuousTokenBuilder(tokenizer).build_initial_tokens(messages))


def ids(name: str, tokens: list[str]) -> list[int]:
    """Token ids of special tokens and single characters."""
    mark = {" ": "\u2581"} if FAMILIES[name].pieces else {" ": "\u0120", "\n": "\u010a"}
    return list(tokenizer_of(name).convert_tokens_to_ids([mark.get(token, token) for token in tokens]))


def both_roles(pack: TaskPack) -> dict[str, list[dict[str, str]]]:
    """What a proposer and a solver are asked."""
    kind = pack.kinds[0].name
    seeds = [seed for seed in pack.seeds() if seed.kind == kind]
    return {
        "propose": pack.propose_prompt(kind, seeds[:1], random.Random(0)),
        "solve": pack.solve_prompt(seeds[0]),
    }


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("role", ["propose", "solve"])
def test_chat_prompts_begin_and_end_as_the_family_has_it(name: str, role: str) -> None:
    family, messages = FAMILIES[name], both_roles(ArithmeticPack())[role]
    found = prompt_ids(name, messages)
    # The default system prompt, if there is one, is longer than ten tokens.
    first = (family.first + list(messages[0]["content"]))[:10]
    last = (list(messages[0]["content"]) + family.last)[-10:]
    assert (found[:10], found[-10:]) == (ids(name, first), ids(name, last))
    if family.begin is not None and family.begin not in family.template:  # where it opens turns as well
        assert found.count(ids(name, [family.begin])[0]) == 1


@cache
def composed(*overrides: str) -> DictConfig:
    register()
    with initialize_config_dir(str(CONF), version_base=None):
        return compose("azr", list(overrides))


BASE_MODELS = {
    "azr_base_7b": "Qwen2.5",
    "azr_coder_3b": "Qwen2.5",
    "azr_coder_7b": "Qwen2.5",
    "azr_coder_14b": "Qwen2.5",
    "azr_llama_8b": "Llama 3",
}


@pytest.mark.parametrize("role", ["propose", "solve"])
def test_base_models_are_asked_in_a_plain_conversation(role: str) -> None:
    """The paper's template, with the begin token where the model has one, in every experiment on them."""
    for experiment, name in BASE_MODELS.items():
        config = composed(f"experiment={experiment}")
        messages = both_roles(load_pack(config.pack))[role]
        found = prompt_ids(name, messages, config.actor_rollout_ref.model.custom_chat_template)
        begin = FAMILIES[name].begin
        first = [*([] if begin is None else [begin]), *"A conversa"]
        assert found[:10] == ids(name, first[:10]), experiment
        assert found[-10:] == ids(name, list("t: <think>")), experiment
        text = tokenizer_of(name).decode(found, skip_special_tokens=True)
        assert text.startswith("A conversation between User and Assistant. The user asks a question, and")
        asked = messages[0]["content"]
        assert text.endswith(f"<answer> answer here </answer>. User: {asked}\nAssistant: <think>"), experiment


WITH_TAGS = {"full_1.5b_80gb", "lora_3b_24gb", "lora_3b_80gb", "math_word", "minazr", *BASE_MODELS}


@pytest.mark.slow
def test_instruct_models_keep_their_template_and_responses_in_tags_end_with_the_answers() -> None:
    experiments = sorted(path.stem for path in (CONF / "experiment").glob("*.yaml"))
    configs = {name: composed(f"experiment={name}") for name in experiments}
    models = {name: config.actor_rollout_ref.model for name, config in configs.items()}
    # A pretrained model that goes on with a text has no conversation, and ends an answer with its line.
    assert load_pack(configs.pop("smollm2").pack).stop_strings == ("\n",)
    assert {name for name in configs if models[name].custom_chat_template is not None} == set(BASE_MODELS)
    stop_strings = {name: load_pack(config.pack).stop_strings for name, config in configs.items()}
    assert stop_strings == {name: ("</answer>",) if name in WITH_TAGS else () for name in configs}


def test_an_instruct_model_in_an_experiment_for_base_models_keeps_its_own() -> None:
    config = composed("experiment=azr_coder_7b", "prompts=chat")
    assert config.actor_rollout_ref.model.custom_chat_template is None
