"""How much memory a run will take, by part, worked out from its configuration and the model's sizes.

Bytes are counted as verl 0.9.1's FSDP2 engine and vLLM allocate them; what cannot be worked out (a process
before it holds a model, a CUDA context) is a constant that says whether it was measured.
`benchmarks/memory.py` measures a run on a CPU. The figures for GPUs have not been held against a GPU yet.

Letters: P parameters, T tokens of a micro-batch, V vocabulary, L blocks, S workers that share the model.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from enum import StrEnum

from omegaconf import DictConfig, OmegaConf

from recipe.config import ROLLOUT_DTYPES
from recipe.preflight.model import ModelConfig, ModelShape, largest_weight
from recipe.preflight.slots import num_workers

GIB = 2**30
BYTES = {"fp32": 4, "float32": 4, "bf16": 2, "bfloat16": 2, "fp16": 2, "float16": 2}
"""Bytes of a number, by the names that verl has for its type."""

BUCKET = "actor_rollout_ref.rollout.checkpoint_engine.update_weights_bucket_megabytes"
"""The bucket through which a worker passes its weights on to vLLM, in MiB."""

LEAST_BUCKET_MIB = 64
VERLS_BUCKET_MIB = 2048  # its default

VLLM_CACHE = "key-value cache, graphs and activations of vLLM"

CUDA_CONTEXT_GIB = 1.2
"""CUDA context and libraries of the trainer and of the vLLM worker on one GPU. Assumed, not measured."""

FRAGMENTATION = 0.05
"""Share of a GPU that is lost to its allocators' blocks. Assumed, not measured."""

# Proportional set size, in GiB, of each sort of process of `experiment=demo` with the model and the cache
# subtracted: Python, torch, Ray, verl, vLLM. Measured by benchmarks/memory.py, locked packages, x86-64.
SINGLES_GIB = 0.38 + 0.55 + 0.5 + 0.28 + 0.06 + 0.6
"""Driver, task runner, load balancer, storage controller, claims, and Ray's own daemons and idle workers."""

AGENT_LOOP_WORKER_GIB = 0.55
TRAINER_GIB = 0.6
VLLM_SERVER_GIB = 0.54
VLLM_ENGINE_GIB = 0.44
VLLM_WORKER_GIB = 0.56
REWARD_WORKER_GIB = 0.33
STORAGE_UNIT_GIB = 0.28

FUSED_CHUNK = 512

PADDED = 2
"""How many times its tokens a micro-batch of rows takes, for the rows are padded to the longest: 1.9 times in
`experiment=smollm2`, whose proposals and attempts differ most in length."""
"""Tokens of a chunk in verl's fused log-probabilities (`FusedLinearForPPO`)."""


def runs_in_engine(rollout: DictConfig) -> bool:
    """Whether vLLM runs the model in the process that schedules, and not in one of its own a GPU."""
    return bool(rollout.engine_kwargs.vllm.get("distributed_executor_backend") == "uni")


class Phase(StrEnum):
    """What a worker does. Updating and generating take turns (`actor_rollout_ref.hybrid_engine`)."""

    LOADING = "loading"
    UPDATING = "updating"
    GENERATING = "generating"


ALL = tuple(Phase)


@dataclass(frozen=True, slots=True)
class Part:
    """One part of an estimate, in GiB."""

    name: str
    gib: float
    phases: tuple[Phase, ...] = ALL  # when it is there


@dataclass(frozen=True, slots=True)
class Estimate:
    """The parts of one device's memory."""

    parts: tuple[Part, ...]

    def gib_of(self, name: str) -> float:
        """GiB of the part of this name."""
        (gib,) = (part.gib for part in self.parts if part.name == name)
        return gib

    def gib_while(self, phase: Phase) -> float:
        """GiB of all that is there in this phase."""
        return sum(part.gib for part in self.parts if phase in part.phases)

    @property
    def peak_gib(self) -> float:
        """GiB of the phase that takes most."""
        return max(map(self.gib_while, Phase))


def estimate_gpu(config: DictConfig, shape: ModelShape, card_gib: float) -> Estimate:
    """Memory of one GPU, which a trainer and a vLLM worker share.

    Weights go to vLLM before it maps its cache, through buckets that are smaller than that (verl 0.9.1,
    `engine_workers.update_weights`), so the transfer is never the peak. Of `card_gib`, all memory of the GPU,
    vLLM takes its share (`gpu_memory_utilization`).
    """
    rollout, fsdp = config.actor_rollout_ref.rollout, config.actor_rollout_ref.actor.fsdp_config
    updating, both = (Phase.UPDATING,), (Phase.UPDATING, Phase.GENERATING)
    stays = {"weights": not fsdp.param_offload, "optimizer": not fsdp.optimizer_offload}
    engine = (Phase.GENERATING,) if rollout.free_cache_engine else both
    weights_of_vllm = _rollout_gib(config, shape) / rollout.tensor_model_parallel_size
    return Estimate(
        (
            *(
                Part(name, gib, both if stays.get(name) else updating)
                for name, gib in _training_gib(config, shape).items()
            ),
            Part("weights in vLLM", weights_of_vllm, engine),
            Part(VLLM_CACHE, rollout.gpu_memory_utilization * card_gib - weights_of_vllm, engine),
            Part("CUDA contexts", CUDA_CONTEXT_GIB),
        )
    )


def estimate_host(config: DictConfig, shape: ModelShape) -> Estimate:
    """Memory of one node outside its GPUs: the processes of a run and, on a CPU, the model and its training.

    The processes of the driver are counted in, as they are on the first node.
    """
    training, workers = _training_gib(config, shape), config.trainer.n_gpus_per_node
    rollout, actor = config.actor_rollout_ref.rollout, config.actor_rollout_ref.actor
    adapters = config.actor_rollout_ref.model.lora_rank > 0
    replicas = max(1, workers // rollout.tensor_model_parallel_size)
    storage = config.transfer_queue.backend.SimpleStorage.num_data_storage_units
    engine = 0.0 if runs_in_engine(rollout) else VLLM_ENGINE_GIB
    parts = [
        Part("driver, task runner and Ray", SINGLES_GIB),
        Part("agent-loop workers", rollout.agent.num_workers * AGENT_LOOP_WORKER_GIB),
        Part("reward workers", config.reward.num_workers * REWARD_WORKER_GIB),
        Part("storage units", storage * STORAGE_UNIT_GIB),
        Part("trainers", workers * TRAINER_GIB),
        Part("vLLM", replicas * (VLLM_SERVER_GIB + engine) + workers * VLLM_WORKER_GIB),
    ]
    whole = BYTES[actor.fsdp_config.model_dtype] * shape.num_parameters / GIB
    # A second model to diverge from; with adapters it is the first without them. verl keeps it in host
    # memory, and the GPUs gather it from there.
    if (actor.use_kl_loss or config.algorithm.use_kl_in_reward) and not adapters:
        parts.append(Part("reference model", workers * whole / _num_shards(config)))
    if config.cpu is not None:
        # Nothing sleeps on a CPU, so all is there all the time. vLLM's CPU build keeps linear weights twice,
        # plain and packed (docs/cpu.md).
        parts += [
            *(Part(name, workers * gib) for name, gib in training.items()),
            Part("weights in vLLM", replicas * 2 * _rollout_gib(config, shape)),
            Part("key-value cache", replicas * config.cpu.kv_cache_gib),
            Part("weight transfer", workers * bucket_mib(config, asdict(shape)) / 1024),
        ]
        return Estimate(tuple(parts))
    # verl loads the whole model on every node's workers before it is sharded: on all of them if the output
    # layer is the embedding, else on the first.
    loading = (workers if shape.tied else 1) * whole
    fsdp = actor.fsdp_config
    offloaded = training["weights"] * fsdp.param_offload + training["optimizer"] * fsdp.optimizer_offload
    asleep = _rollout_gib(config, shape) * replicas if adapters else 0.0
    parts += [
        Part("whole model on its workers", loading, (Phase.LOADING,)),
        Part("offloaded weights and optimizer", workers * offloaded, (Phase.GENERATING,)),
        Part("weights that vLLM puts aside (LoRA)", asleep, (Phase.UPDATING,)),
    ]
    return Estimate(tuple(parts))


def kv_tokens(config: DictConfig, shape: ModelShape, cache_gib: float) -> int:
    """Tokens that a cache of one replica holds: 2 (keys, values) * L * kv heads * head size * bytes each.

    Tensor parallelism divides the heads among as many caches (arXiv:2309.06180 describes the cache).
    """
    rollout = config.actor_rollout_ref.rollout
    heads = max(1, shape.num_kv_heads // rollout.tensor_model_parallel_size)
    token = 2 * shape.num_layers * heads * shape.head_size * BYTES[ROLLOUT_DTYPES[rollout.dtype]]
    return max(0, int(cache_gib * GIB / token))


def checkpoint_gib(config: DictConfig, shape: ModelShape) -> float:
    """GiB of one checkpoint: all weights, and both moments of AdamW of those that are trained."""
    training = _training_gib(config, shape)
    return _num_shards(config) * (training["weights"] + training["optimizer"])


def bucket_mib(config: DictConfig, model: ModelConfig | None) -> int:
    """MiB of the bucket through which a worker passes its weights on: as given, or as the model needs it."""
    if (given := OmegaConf.select(config, BUCKET)) is not None:
        return int(given)
    if config.cpu is None:
        return VERLS_BUCKET_MIB
    return max(LEAST_BUCKET_MIB, largest_weight_mib(config, model) or VERLS_BUCKET_MIB)


def largest_weight_mib(config: DictConfig, model: ModelConfig | None) -> int | None:
    """MiB of the largest weight that is passed on, rounded up; None if the model's sizes are not known.

    It travels in the trainer's number type and is cast by vLLM (verl 0.9.1, `bucketed_weight_transfer.py`).
    Without CUDA's sharing of memory it has to fit the bucket; with it a larger one goes by itself.
    """
    if (numbers := largest_weight(model or {})) is None:
        return None
    return math.ceil(numbers * BYTES[config.actor_rollout_ref.actor.fsdp_config.model_dtype] / 2**20)


def fill_bucket(config: DictConfig, model: ModelConfig | None) -> None:
    """Give the bucket a size where the configuration leaves that to the model."""
    OmegaConf.update(config, BUCKET, bucket_mib(config, model))


def sequence_tokens(config: DictConfig) -> int:
    """Most tokens of a prompt and its response."""
    return int(config.data.max_prompt_length + config.data.max_response_length)


def _rollout_gib(config: DictConfig, shape: ModelShape) -> float:
    """GiB of the whole model in vLLM's number type."""
    return BYTES[ROLLOUT_DTYPES[config.actor_rollout_ref.rollout.dtype]] * shape.num_parameters / GIB


def _num_shards(config: DictConfig) -> int:
    """Workers that share one copy of the model: all, or as many as `fsdp_size` says."""
    workers, size = num_workers(config), int(config.actor_rollout_ref.actor.fsdp_config.fsdp_size)
    return workers if size < 0 else min(size, workers)


def _training_gib(config: DictConfig, shape: ModelShape) -> dict[str, float]:
    """GiB on one worker that trains, by part: what it holds, and what an update takes beside that.

    Weights are kept in `fsdp_config.model_dtype` (fp32 as a rule, next to which bf16 copies are gathered);
    gradients and both moments of AdamW in the same type, for trained parameters only: 16 bytes a parameter in
    fp32, divided by S (arXiv:1910.02054, stage 3, whose own 16 are 2 + 2 + 12).
    """
    actor, model = config.actor_rollout_ref.actor, config.actor_rollout_ref.model
    packed, mixed = model.use_remove_padding, actor.fsdp_config.get("mixed_precision") or {}
    tokens = actor.ppo_max_token_len_per_gpu * (1 if packed else PADDED)
    compute = BYTES[mixed.get("param_dtype", "bf16")]
    adapters = shape.lora_parameters(model.lora_rank)
    unit = BYTES[actor.fsdp_config.model_dtype] / _num_shards(config)
    gradients = unit * (adapters if model.lora_rank else shape.num_parameters)

    # FSDP2 gathers embedding and output layer for a whole pass, and two blocks in turn. Gathered weights are
    # in `mixed_precision.param_dtype`; their gradients, which frozen weights have none of, in the same type,
    # and once more in `reduce_dtype` while they are reduced.
    gathered = compute if model.lora_rank else 2 * compute + BYTES[mixed.get("reduce_dtype", "fp32")]
    gathered *= shape.outer_parameters + 2 * shape.layer_parameters

    # A block keeps about 6 rows of the residual stream (inputs of norms and linear layers, outputs), both
    # norms in fp32, queries and attention output, keys and values, and 4 rows of the feed-forward block.
    # Without checkpointing every block keeps them; with it, every block its input, and the one that is run
    # again all of them (arXiv:2205.05198, section 5). Attention keeps no T x T matrix (arXiv:2205.14135), but
    # packed sequences under sdpa have a T x T mask, of 1 byte and 1 number an entry, and each padded one has
    # its own.
    rows = 6 * shape.hidden_size + 2 * shape.head_size * (shape.num_heads + shape.num_kv_heads)
    block = tokens * (compute * (rows + 4 * shape.intermediate_size) + 2 * 4 * shape.hidden_size)
    activations = shape.num_layers * block
    if model.enable_gradient_checkpointing:
        activations = shape.num_layers * tokens * shape.hidden_size * compute + block
    if model.override_config.get("attn_implementation") == "sdpa":
        seen = tokens if packed else config.data.max_prompt_length + config.data.max_response_length
        activations += tokens * seen * (1 + compute)

    sizes = {
        "weights": unit * (shape.num_parameters + adapters),
        "gradients": gradients,
        "optimizer": 2 * gradients,
        "gathered weights and their gradients": gathered,
        "activations": activations,
        "logits": _logits_bytes(config, tokens, compute) * shape.vocab_size,
    }
    return {name: size / GIB for name, size in sizes.items()}


def _logits_bytes(config: DictConfig, tokens: int, compute: int) -> int:
    """Most bytes that an update holds of logits and what is made of them, for each word of the vocabulary.

    `tokens` are those of a micro-batch, `compute` the bytes of a number of the forward pass. By reading verl
    0.9.1; autocast runs log-softmax and softmax in fp32 (torch.amp's list of operations).
    """
    actor, model = config.actor_rollout_ref.actor, config.actor_rollout_ref.model
    has_entropy = bool(actor.entropy_coeff or actor.calculate_entropy)
    if model.use_fused_kernels:
        # Backward over a chunk (`_fused_linear_for_ppo_bwd`), in fp32: logits, softmax, the one-hot labels,
        # their difference and the gradient; with an entropy its log-softmax and a product more.
        return min(tokens, FUSED_CHUNK) * 4 * (5 + 2 * has_entropy)
    # Logits, a copy where verl divides by a temperature, and their gradient; the log-softmax that is saved
    # (`logprobs_from_logits_v2`, without flash-attn's kernel); for the entropy softmax and its product with
    # the logits (`entropy_from_logits`).
    copies = 2 + (config.actor_rollout_ref.rollout.temperature != 1)
    if compute == BYTES["fp32"]:
        # Nothing is saved but logits. Their gradient is there token by token and put together, beside that of
        # the chosen tokens. Of 640 tokens and 151,936 words, on a CPU, 16.2 bytes a logit, and 28.6 with the
        # entropy (measured).
        return tokens * compute * int(copies + 2 + 3 * has_entropy)
    return tokens * int(copies * compute + 4 * (1 + 2 * has_entropy))
