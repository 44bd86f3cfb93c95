"""The model: its files, its chat template, and what its sizes allow."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import TemplateError
from omegaconf import OmegaConf

from recipe.config import TINY_MODEL
from recipe.preflight import machine, memory, slots
from recipe.preflight.gguf_file import faults_of, find_gguf, read_header
from recipe.preflight.memory import BUCKET
from recipe.preflight.model import (
    MADE,
    SIZES,
    VOCABULARIES,
    chat_template_of,
    context_length,
    fault_of,
    finder,
    head_counts,
    head_size_of,
    hub_is_offline,
    is_on_hub,
    missing_weights,
    read_json,
    template_fault,
    weight_names,
)
from recipe.preflight.rules.folders import resumed_from
from recipe.preflight.rules.keys import (
    ATTENTION,
    EXECUTOR,
    MODEL,
    ROLLOUT,
    SEQUENCE_PARALLEL,
    TENSOR_PARALLEL,
    TOKENS,
    show,
)
from recipe.preflight.rules.register import rule
from recipe.preflight.setup import Setup
from recipe.selfplay.elicit import prompt_with_examples
from tasks.contract import Message

NEEDED = {
    "config.json": "a model directory holds one",
    "tokenizer_config.json": "the tokenizer is needed for the chat template",
}
"""Files of every model, with the reason."""


# How the files begin, or end, that transformers' tokenizers read their tokens from.
OF_TOKENIZERS = ("tokenizer.json", "tokenizer.model", "vocab", "spiece", "sentencepiece", "tekken", "merges")
SUFFIXES = (".tiktoken", ".model")


def is_directory(path: str | None) -> bool:
    """Whether the model is one of this machine's."""
    return path is not None and Path(path).expanduser().is_dir()


@rule(applies=lambda config: config.actor_rollout_ref.model.path != TINY_MODEL)
def model_files(setup: Setup) -> Iterator[str]:
    """A model is a directory with all it needs, or a name on the hub; offline, one that is in the cache."""
    path = setup.config.actor_rollout_ref.model.path
    if path is None or not (is_directory(path) or find_gguf(path) or is_on_hub(path)):
        got = "it is not set" if path is None else f"{path} does not exist"
        remedy = f"; make it by `{MADE[path]}`" if path in MADE else ""
        yield f"{MODEL} must be a model directory or a name on the hub; {got}{remedy}"
        return
    if find_gguf(path) is not None:
        return
    find = finder(path)
    missing = {name: reason for name, reason in NEEDED.items() if find(name) is None}
    if (weights := missing_weights(find)) is not None:
        missing[weights] = "without it the weights are not whole"
    for name, reason in missing.items():
        if is_directory(path):
            yield f"{Path(path).expanduser() / name} must exist: {reason}"
        elif hub_is_offline():
            yield (
                f"{MODEL}={path} must be in the hub's cache of this machine, since HF_HUB_OFFLINE is set; "
                f"{name} is not. Fetch it where there is a network (`hf download {path}`), or give a folder"
            )
            return
    if is_directory(path):
        yield from _lacks_of_folder(setup, path)


def _lacks_of_folder(setup: Setup, path: str) -> Iterator[str]:
    """What verl and transformers look for in files that are there."""
    model, folder = setup.config.actor_rollout_ref.model, Path(path).expanduser()
    names = (setup.model_config or {}).get("architectures", [""])
    if not isinstance(names, list) or len(names) != 1:
        yield f"{folder / 'config.json'} must name one architecture, which verl loads; got {show(names)}"
    # A tokenizer with code of its own has what files it likes.
    if model.get("tokenizer_path") is not None or model.trust_remote_code:
        return
    described = folder / "tokenizer_config.json"
    known = (
        file for file in folder.iterdir() if file.name.startswith(OF_TOKENIZERS) or file.suffix in SUFFIXES
    )
    if described.exists() and "tokenizer_class" in read_json(described) and next(known, None) is None:
        yield f"{folder / 'tokenizer.json'} must exist, or another file with the tokens; there is none"


@rule()
def other_paths(setup: Setup) -> Iterator[str]:
    """Tokenizer, configuration and adapters from elsewhere are there."""
    model = setup.config.actor_rollout_ref.model
    needed = {
        "tokenizer_path": "tokenizer_config.json",
        "hf_config_path": "config.json",
        "lora_adapter_path": "adapter_config.json",
    }
    for name, file in needed.items():
        path = model.get(name)
        if path is None or (isinstance(path, str) and is_on_hub(path) and not is_directory(path)):
            continue
        if not isinstance(path, str) or not (Path(path).expanduser() / file).is_file():
            key = f"actor_rollout_ref.model.{name}"
            yield f"{key} must be null, a directory with {file}, or a name on the hub; got {show(path)}"


@rule(applies=lambda config: config.actor_rollout_ref.model.path not in (None, TINY_MODEL))
def whole_files(setup: Setup) -> Iterator[str]:
    """The large files of a model that are on this machine are what they are called."""
    path = setup.config.actor_rollout_ref.model.path
    if (gguf := find_gguf(path)) is not None:
        yield from faults_of(gguf)
        return
    find = finder(path)
    for name in (*weight_names(find), *VOCABULARIES):
        if (file := find(name)) is not None and (fault := fault_of(file)) is not None:
            yield f"{file} {fault}"


@rule()
def trainable(setup: Setup) -> Iterator[str]:
    """The weights of a model are numbers that an optimizer can change."""
    if (quantized := (setup.model_config or {}).get("quantization_config")) is not None:
        method = quantized.get("quant_method", "unknown")
        path = setup.config.actor_rollout_ref.model.path
        yield f"{MODEL} must be a model whose weights are not quantized; {path} is (quant_method={method})"


@rule()
def chat_template(setup: Setup) -> Iterator[str]:
    """Prompts are written by a chat template, the model's or the run's own."""
    model = setup.config.actor_rollout_ref.model
    template, whose = model.custom_chat_template, "actor_rollout_ref.model.custom_chat_template"
    if template is None:
        if model.path in (None, TINY_MODEL):
            return
        find, remedy = finder(model.path), "add chat_template.jinja to the directory"
        if (gguf := find_gguf(model.path)) is not None:
            template = read_header(gguf).values.get("tokenizer.chat_template")
            remedy = "give one as actor_rollout_ref.model.custom_chat_template"
        elif not is_directory(model.path) and find("tokenizer_config.json") is None:
            return  # the hub has it
        else:
            template = chat_template_of(find)
        whose = f"the chat template of {model.path}"
    if template is None:
        none = f"{model.path} must have a chat template, and its tokenizer has none"
        yield f"{none}. Use an instruct model, or {remedy}."
    elif (fault := template_fault(template)) is not None:
        yield f"{whose} must be a Jinja template; got {fault}"


LOG_PROB_TOKENS = "log_prob_max_token_len_per_gpu"


@rule()
def lengths(setup: Setup) -> Iterator[str]:
    """A prompt and its response fit in whatever has to hold them."""
    config = setup.config
    whole = memory.sequence_tokens(config)
    tokens, spread = OmegaConf.select(config, TOKENS), slots.sequence_parallel_size(config)
    shared = f", on each of {spread} workers that share a sequence" if spread > 1 else ""
    window, limit = context_length(setup.model_config or {}), config.actor_rollout_ref.rollout.max_model_len
    reference = config.actor_rollout_ref
    # Old log-probabilities, and with a divergence from it those of the reference, are in micro-batches too.
    of_reference = reference.actor.use_kl_loss or config.algorithm.use_kl_in_reward
    others = {ROLLOUT: reference.rollout, "actor_rollout_ref.ref": reference.ref if of_reference else {}}
    sizes = {f"{part}.{LOG_PROB_TOKENS}": keys.get(LOG_PROB_TOKENS) for part, keys in others.items()}
    for most, what in (
        (limit, f"{ROLLOUT}.max_model_len={limit}"),
        (tokens * spread, f"{TOKENS}={tokens}, one micro-batch{shared}"),
        *(
            (size * spread, f"{key}={size}{shared}")
            for key, size in sizes.items()
            if size not in (None, tokens)
        ),
        (window, f"the model's context, {window}"),
    ):
        if most is not None and whole > most:
            yield f"data.max_prompt_length + data.max_response_length = {whole} must fit {what}"
    for name in ("prompt", "response"):
        given, of_data = reference.rollout[f"{name}_length"], config.data[f"max_{name}_length"]
        if given != of_data:
            follows = f"it is data.max_{name}_length={of_data}"
            yield f"{ROLLOUT}.{name}_length must be left alone: {follows}; got {show(given)}"
    if None not in (limit, window) and limit > window:
        yield f"{ROLLOUT}.max_model_len must fit the model's context, {window}; got {limit}"


CPU_HEAD_SIZES = (32, 64, 80, 96, 112, 128, 160, 192, 224, 256, 512)
"""Those that vLLM 0.27.1 has attention for on a CPU (`CPUAttentionBackend.get_supported_head_sizes`)."""


@rule(applies=machine.on_cpu)
def head_size(setup: Setup) -> Iterator[str]:
    """vLLM's attention knows the size of a head; on a CPU its engine otherwise ends at the first request."""
    size = head_size_of(setup.model_config or {})
    if size is not None and size not in CPU_HEAD_SIZES:
        known = ", ".join(map(str, CPU_HEAD_SIZES))
        yield f"{MODEL} must have heads of a size that vLLM has on a CPU, one of {known}; got {size}"


# Elsewhere CUDA shares memory, and a weight that does not fit the bucket goes by itself.
@rule(applies=machine.on_cpu)
def weight_bucket(setup: Setup) -> Iterator[str]:
    """The bucket of shared memory that weights go to vLLM through holds the largest of them."""
    needed = memory.largest_weight_mib(setup.config, setup.model_config)
    given = memory.bucket_mib(setup.config, setup.model_config)
    if needed is not None and given < needed:
        yield (
            f"{BUCKET} must be at least {needed}, the MiB of the model's largest weight, or null to follow "
            f"from it; got {given}"
        )


@rule()
def resumed_model(setup: Setup) -> Iterator[str]:
    """A checkpoint goes back into the model that it was made of."""
    begin = resumed_from(setup)
    saved = None if begin is None else begin / "actor" / "huggingface" / "config.json"
    if saved is None or not saved.exists() or setup.model_config is None:
        return
    then, now = read_json(saved), setup.model_config
    for name in (name for name in SIZES if name in then and name in now and then[name] != now[name]):
        yield (
            f"{MODEL} must be a model like that of {begin}, with {name}={then[name]}; got one with "
            f"{now[name]}. Give that model, or another run.dir"
        )
        return


@rule()
def parallelism(setup: Setup) -> Iterator[str]:
    """What tensor parallelism (vLLM's) and sequence parallelism (the trainer's) have to divide."""
    reference, per_node = setup.config.actor_rollout_ref, setup.config.trainer.n_gpus_per_node
    tensor = reference.rollout.tensor_model_parallel_size
    sequence = slots.sequence_parallel_size(setup.config)
    if per_node % tensor:
        replica = f"{TENSOR_PARALLEL}={tensor}, the GPUs of one vLLM replica"
        yield f"trainer.n_gpus_per_node must be a multiple of {replica}; got {per_node}"
    elif per_node % (of_data := tensor * reference.rollout.data_parallel_size):
        replica = (
            f"{TENSOR_PARALLEL} * {ROLLOUT}.data_parallel_size = {of_data}, the GPUs of one vLLM replica"
        )
        yield f"trainer.n_gpus_per_node must be a multiple of {replica}; got {per_node}"
    experts, of_experts = (
        reference.rollout.expert_parallel_size,
        tensor * reference.rollout.data_parallel_size,
    )
    if experts not in (None, 1, of_experts):
        replica = f"or {of_experts}, the GPUs of a vLLM replica"
        yield f"{ROLLOUT}.expert_parallel_size must be 1, {replica}; got {show(experts)}"
    if sequence > 1 and not reference.model.use_remove_padding:
        needs = "actor_rollout_ref.model.use_remove_padding=true"
        yield f"{SEQUENCE_PARALLEL}={sequence} needs {needs}; got false"
    workers = slots.num_workers(setup.config)
    if workers % sequence:
        number = f"the number of workers, trainer.nnodes * trainer.n_gpus_per_node = {workers}"
        yield f"{SEQUENCE_PARALLEL} must divide {number}; got {sequence}"
    attention = reference.model.override_config.get("attn_implementation", "flash_attention_2")
    if sequence > 1 and attention != "flash_attention_2":
        only = f"{ATTENTION}=flash_attention_2, the only one that verl spreads over workers"
        yield f"{SEQUENCE_PARALLEL}={sequence} needs {only}, and the package flash-attn; got {attention}"
    if (counts := head_counts(setup.model_config or {})) is None:
        return
    heads, kv_heads = counts
    for key, size in ((TENSOR_PARALLEL, tensor), (SEQUENCE_PARALLEL, sequence)):
        if heads % size or (kv_heads % size and size % kv_heads):
            of_keys = f"divide its {kv_heads} key-value heads or be a multiple of them"
            yield f"{key} must divide the model's {heads} attention heads, and {of_keys}; got {size}"


@rule()
def executor(setup: Setup) -> Iterator[str]:
    """vLLM waits for ever for the processes that `uni` does not start."""
    rollout = setup.config.actor_rollout_ref.rollout
    if memory.runs_in_engine(rollout) and rollout.tensor_model_parallel_size > 1:
        tensor = f"{TENSOR_PARALLEL}={rollout.tensor_model_parallel_size}"
        yield f"{EXECUTOR}=uni runs a model in one process; {tensor} needs mp"


@rule()
def batches(setup: Setup) -> Iterator[str]:
    """vLLM has room for a token of every sequence."""
    rollout = setup.config.actor_rollout_ref.rollout
    tokens, sequences = rollout.max_num_batched_tokens, rollout.max_num_seqs
    if tokens < sequences:
        least = f"at least {ROLLOUT}.max_num_seqs={sequences}"
        yield f"{ROLLOUT}.max_num_batched_tokens must be {least}; got {tokens}"


CHANGES_OF_LOGITS = ("final_logit_softcapping", "logits_scaling", "logit_scale", "lm_head_multiplier")
"""Keys of config.json, of Gemma, Granite, Cohere and Falcon-H1, for what happens behind the output layer."""

OUTPUT_LAYER = "recipe.engine.output_layer"


@rule(applies=lambda config: config.actor_rollout_ref.model.use_fused_kernels)
def fused_kernels(setup: Setup) -> Iterator[str]:
    """verl's fused log-probabilities are those of a bare output layer, and read its weights from the root."""
    found, key = setup.model_config or {}, "actor_rollout_ref.model.use_fused_kernels"
    for name in (name for name in CHANGES_OF_LOGITS if found.get(name) not in (None, 1)):
        why = f"this model has {name}={found[name]}, which verl's fused log-probabilities leave out"
        yield f"{key} must be false: {why}"
    if OUTPUT_LAYER not in str(libraries := setup.config.actor_rollout_ref.model.external_lib):
        needs = f"actor_rollout_ref.model.external_lib={OUTPUT_LAYER}"
        yield f"{key}=true needs {needs} (docs/doctor.md); got {libraries}"


# It loads transformers.
@rule(last=True)
def proposers_prompts(setup: Setup) -> Iterator[str]:
    """A proposer's prompt drops references until it fits, so it has to fit without any."""
    data = setup.config.data
    if (tokenizer := setup.tokenizer) is None:
        return
    chat = data.get("apply_chat_template_kwargs") or {}
    for spec in setup.pack.kinds:
        messages = setup.pack.propose_prompt(spec.name, (), random.Random(0))
        try:
            tokens = _num_tokens(tokenizer, messages, chat)
        except TemplateError:  # another rule says so
            return
        if tokens > data.max_prompt_length:
            yield (
                f"data.max_prompt_length must be at least {tokens}, the tokens of a proposer's prompt for "
                f"{spec.name} without any references; got {data.max_prompt_length}"
            )


# It loads transformers.
@rule(last=True, applies=lambda config: config.azr.elicit.examples or config.azr.elicit.beginning)
def elicited_prompts(setup: Setup) -> Iterator[str]:
    """Held-out prompts fit with what `azr.elicit` puts before and behind them."""
    data, pack, elicit = setup.config.data, setup.pack, setup.config.azr.elicit
    if (tokenizer := setup.tokenizer) is None:
        return
    chat = data.get("apply_chat_template_kwargs") or {}
    records = pack.held_out()
    keys = {pack.task_key(record) for record in records}
    prompts = (prompt_with_examples(pack, record, elicit.examples, keys) for record in records)
    try:
        longest = max(_num_tokens(tokenizer, messages, chat) for messages in prompts)
    except TemplateError as error:
        turns = f"takes no earlier turns with answers: {error}"
        yield f"azr.elicit.examples must be 0 with a chat template that {turns}; got {elicit.examples}"
        return
    longest += len(tokenizer(elicit.beginning, add_special_tokens=False)["input_ids"])
    if longest > data.max_prompt_length:
        yield (
            f"data.max_prompt_length must be at least {longest}, the tokens of the longest held-out prompt "
            f"with what azr.elicit adds; got {data.max_prompt_length}"
        )


def _num_tokens(tokenizer: Any, messages: Sequence[Message], chat: Mapping[str, Any]) -> int:
    """Length of a prompt in tokens, by the tokenizer's chat template with these arguments."""
    text = tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False, **chat)
    return len(tokenizer(text, add_special_tokens=False)["input_ids"])
