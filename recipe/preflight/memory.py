"""How much memory a run will take, by part, worked out from its configuration and the model's sizes.

Bytes are counted as verl 0.9.1's FSDP2 engine and vLLM allocate them; what cannot be worked out (a process
before it holds a model, a CUDA context) is a constant that says whether it was measured.
`benchmarks/memory.py` measures a run on a CPU. The figures for GPUs have not been held against a GPU yet.

Letters: P parameters, T tokens of a micro-batch, V vocabulary, L blocks, S workers that share the model.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from omegaconf import DictConfig

from recipe.config import ROLLOUT_DTYPES
from recipe.preflight.model import ModelShape
from recipe.preflight.slots import num_workers

GIB = 2**30
BYTES = {"fp32": 4, "float32": 4, "bf16": 2, "bfloat16": 2, "fp16": 2, "float16": 2}
"""Bytes of a number, by the names that verl has for its type."""

LOGIT_COPIES = 3
"""Logits, the saved log-softmax and the gradient: `logprobs_from_logits_v2`, without flash-attn's kernel."""

ENTROPY_COPIES = 2
"""softmax and its product with the logits (`entropy_from_logits`), if the loss has an entropy term."""

VLLM_CACHE = "key-value cache, graphs and activations of vLLM"

CUDA_CONTEXT_GIB = 1.2
"""CUDA context and libraries of the trainer and of the vLLM worker on one GPU. Assumed, not measured."""

FRAGMENTATION = 0.05
"""Share of a GPU that is lost to its allocators' blocks. Assumed, not measured."""

# Proportional set size, in GiB, of each sort of process of `experiment=demo` with the model and the cache
# taken off: Python, torch, Ray, verl, vLLM. Measured by benchmarks/memory.py, locked packages, x86-64.
DRIVER_GIB = 0.38
TASK_RUNNER_GIB = 0.55
AGENT_LOOP_WORKER_GIB = 0.55
TRAINER_GIB = 0.6
VLLM_SERVER_GIB = 0.54
VLLM_ENGINE_GIB = 0.44
VLLM_WORKER_GIB = 0.56
LOAD_BALANCER_GIB = 0.5
REWARD_WORKER_GIB = 0.33
STORAGE_UNIT_GIB = 0.28
STORAGE_CONTROLLER_GIB = 0.28
ADMISSION_GIB = 0.06
RAY_GIB = 0.6
"""Ray's own daemons on one node, and its idle workers."""


class Phase(StrEnum):
    """What a worker does. Updating and generating take turns (`actor_rollout_ref.hybrid_engine`)."""

    LOADING = "loading"
    UPDATING = "updating"
    GENERATING = "generating"


ALL = tuple(Phase)


@dataclass(frozen=True, slots=True)
class Part:
    """One part of an estimate.

    Attributes:
        name: What it is, in a few words.
        gib: How much of it there is, in GiB.
        phases: When it is there.
    """

    name: str
    gib: float
    phases: tuple[Phase, ...] = ALL


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
    `engine_workers.update_weights`), so the transfer is never the peak.

    Args:
        config: The composed configuration.
        shape: Sizes of the model.
        card_gib: Memory of the GPU; vLLM takes its share of all of it (`gpu_memory_utilization`).
    """
    actor, rollout = config.actor_rollout_ref.actor, config.actor_rollout_ref.rollout
    fsdp = actor.fsdp_config
    weights, gradients, optimizer = _states(config, shape, _sharded_over(config))
    updating, generating = (Phase.UPDATING,), (Phase.GENERATING,)
    both = updating + generating
    engine = generating if rollout.free_cache_engine else both
    pool = rollout.gpu_memory_utilization * card_gib
    weights_of_vllm = _rollout_bytes(config) * shape.num_parameters / rollout.tensor_model_parallel_size / GIB
    return Estimate(
        (
            Part("weights", weights, updating if fsdp.param_offload else both),
            Part("gradients", gradients, updating),
            Part("optimizer", optimizer, updating if fsdp.optimizer_offload else both),
            Part("gathered weights and their gradients", _gathered(config, shape), updating),
            Part("activations", _activations(config, shape), updating),
            Part("logits", _logits(config, shape), updating),
            Part("weights in vLLM", weights_of_vllm, engine),
            Part(VLLM_CACHE, pool - weights_of_vllm, engine),
            Part("CUDA contexts", CUDA_CONTEXT_GIB),
        )
    )


def estimate_host(config: DictConfig, shape: ModelShape) -> Estimate:
    """Memory of one node outside its GPUs: the processes of a run and, on a CPU, the model and its training.

    The processes of the driver are counted in, as they are on the first node.
    """
    workers = config.trainer.n_gpus_per_node
    rollout, reference = config.actor_rollout_ref.rollout, config.actor_rollout_ref
    replicas = max(1, workers // rollout.tensor_model_parallel_size)
    storage = config.transfer_queue.backend.SimpleStorage.num_data_storage_units
    singles = (
        DRIVER_GIB + TASK_RUNNER_GIB + LOAD_BALANCER_GIB + STORAGE_CONTROLLER_GIB + ADMISSION_GIB + RAY_GIB
    )
    parts = [
        Part("driver, task runner and Ray", singles),
        Part("agent-loop workers", rollout.agent.num_workers * AGENT_LOOP_WORKER_GIB),
        Part("reward workers", config.reward.num_workers * REWARD_WORKER_GIB),
        Part("storage units", storage * STORAGE_UNIT_GIB),
        Part("trainers", workers * TRAINER_GIB),
        Part("vLLM", replicas * (VLLM_SERVER_GIB + VLLM_ENGINE_GIB) + workers * VLLM_WORKER_GIB),
    ]
    if _has_reference(config):
        # verl keeps it in host memory, and the GPUs gather it from there.
        held = workers * _weight_bytes(config) * shape.num_parameters / _sharded_over(config) / GIB
        parts.append(Part("reference model", held))
    if config.cpu is not None:
        return Estimate((*parts, *_model_on_host(config, shape, workers, replicas)))
    # verl loads the whole model on every node's workers before it is sharded: on all of them if the output
    # layer is the embedding, else on the first.
    loading = (workers if shape.tied else 1) * _weight_bytes(config) * shape.num_parameters / GIB
    states = _states(config, shape, _sharded_over(config))
    fsdp = reference.actor.fsdp_config
    offloaded = workers * (states[0] * fsdp.param_offload + states[2] * fsdp.optimizer_offload)
    asleep = _rollout_bytes(config) * shape.num_parameters / GIB * replicas if _rank(config) else 0.0
    return Estimate(
        (
            *parts,
            Part("whole model on its workers", loading, (Phase.LOADING,)),
            Part("offloaded weights and optimizer", offloaded, (Phase.GENERATING,)),
            Part("weights that vLLM puts aside (LoRA)", asleep, (Phase.UPDATING,)),
        )
    )


def _model_on_host(config: DictConfig, shape: ModelShape, workers: int, replicas: int) -> list[Part]:
    """The parts that are a GPU's elsewhere. Nothing sleeps on a CPU, so all is there all the time."""
    weights, gradients, optimizer = _states(config, shape, _sharded_over(config))
    # vLLM's CPU build keeps linear weights twice, plain and packed (docs/cpu.md).
    weights_of_vllm = 2 * _rollout_bytes(config) * shape.num_parameters / GIB
    return [
        Part("weights", workers * weights),
        Part("gradients", workers * gradients),
        Part("optimizer", workers * optimizer),
        Part("gathered weights and their gradients", workers * _gathered(config, shape)),
        Part("activations", workers * _activations(config, shape)),
        Part("logits", workers * _logits(config, shape)),
        Part("weights in vLLM", replicas * weights_of_vllm),
        Part("key-value cache", replicas * config.cpu.kv_cache_gib),
        Part("weight transfer", workers * bucket_gib(config)),
    ]


def kv_tokens(config: DictConfig, shape: ModelShape, cache_gib: float) -> int:
    """Tokens that a cache of one replica holds: 2 (keys, values) * L * kv heads * head size * bytes each.

    Tensor parallelism divides the heads among as many caches (arXiv:2309.06180 describes the cache).
    """
    rollout = config.actor_rollout_ref.rollout
    heads = max(1, shape.num_kv_heads // rollout.tensor_model_parallel_size)
    token = 2 * shape.num_layers * heads * shape.head_size * _rollout_bytes(config)
    return max(0, int(cache_gib * GIB / token))


def checkpoint_gib(config: DictConfig, shape: ModelShape) -> float:
    """GiB of one checkpoint: all weights, and both moments of AdamW of those that are trained."""
    weights, _, optimizer = _states(config, shape, shards=1)
    return weights + optimizer


def _states(config: DictConfig, shape: ModelShape, shards: int) -> tuple[float, float, float]:
    """GiB of weights, gradients and optimizer on one worker.

    Weights are kept in `fsdp_config.model_dtype` (fp32 as a rule, next to which bf16 copies are gathered);
    gradients and both moments of AdamW in the same type, for trained parameters only: 16 bytes a parameter in
    fp32, divided by S (arXiv:1910.02054, stage 3, whose own 16 are 2 + 2 + 12).
    """
    size, rank = _weight_bytes(config), _rank(config)
    adapters = shape.lora_parameters(rank)
    trained = adapters if rank else shape.num_parameters
    held = shape.num_parameters + adapters
    return (
        size * held / shards / GIB,
        size * trained / shards / GIB,
        2 * size * trained / shards / GIB,
    )


def _gathered(config: DictConfig, shape: ModelShape) -> float:
    """GiB of what FSDP2 gathers: embedding and output layer for a whole pass, and two blocks in turn.

    Gathered weights are in `mixed_precision.param_dtype`; their gradients in the same type, and once more in
    `reduce_dtype` while they are reduced. Frozen weights have none.
    """
    mixed = config.actor_rollout_ref.actor.fsdp_config.get("mixed_precision") or {}
    compute = BYTES[mixed.get("param_dtype", "bf16")]
    reduced = 0 if _rank(config) else compute + BYTES[mixed.get("reduce_dtype", "fp32")]
    return (compute + reduced) * (shape.outer_parameters + 2 * shape.layer_parameters) / GIB


def _activations(config: DictConfig, shape: ModelShape) -> float:
    """GiB of activations of one micro-batch.

    With checkpointing, the input of every block, and all that one block keeps while it is run again
    (arXiv:2205.05198, section 5); without, all that every block keeps. A block of this shape keeps about 6
    rows of the residual stream (inputs of norms and linear layers, outputs), both norms in fp32, queries and
    attention output, keys and values, and 4 rows of the feed-forward block. Attention keeps no T x T matrix
    (arXiv:2205.14135), but packed sequences under sdpa have a T x T mask, of 1 byte and 1 number an entry.
    """
    model = config.actor_rollout_ref.model
    tokens, compute = micro_batch_tokens(config), _compute_bytes(config)
    rows = 6 * shape.hidden_size + 2 * shape.head_size * (shape.num_heads + shape.num_kv_heads)
    block = tokens * (compute * (rows + 4 * shape.intermediate_size) + 2 * 4 * shape.hidden_size)
    stream = tokens * shape.hidden_size * compute
    if model.enable_gradient_checkpointing:
        kept = shape.num_layers * stream + block
    else:
        kept = shape.num_layers * block
    sdpa = model.override_config.get("attn_implementation") == "sdpa"
    mask = tokens * tokens * (1 + compute) if sdpa else 0
    return (kept + mask) / GIB


def _logits(config: DictConfig, shape: ModelShape) -> float:
    """GiB of logits and what is computed from them: T * V numbers, several times."""
    actor, rollout = config.actor_rollout_ref.actor, config.actor_rollout_ref.rollout
    copies = LOGIT_COPIES
    if actor.entropy_coeff or actor.calculate_entropy:
        copies += ENTROPY_COPIES
    if rollout.temperature != 1:
        copies += 1  # verl divides by it out of place
    return copies * _compute_bytes(config) * micro_batch_tokens(config) * shape.vocab_size / GIB


def micro_batch_tokens(config: DictConfig) -> int:
    """Most tokens of a micro-batch on one worker."""
    tokens: int = config.actor_rollout_ref.actor.ppo_max_token_len_per_gpu
    return tokens


def sequence_tokens(config: DictConfig) -> int:
    """Most tokens of a prompt and its response."""
    tokens: int = config.data.max_prompt_length + config.data.max_response_length
    return tokens


def _compute_bytes(config: DictConfig) -> int:
    mixed = config.actor_rollout_ref.actor.fsdp_config.get("mixed_precision") or {}
    return BYTES[mixed.get("param_dtype", "bf16")]


def _weight_bytes(config: DictConfig) -> int:
    return BYTES[config.actor_rollout_ref.actor.fsdp_config.model_dtype]


def _rollout_bytes(config: DictConfig) -> int:
    return BYTES[ROLLOUT_DTYPES[config.actor_rollout_ref.rollout.dtype]]


def _rank(config: DictConfig) -> int:
    rank: int = config.actor_rollout_ref.model.lora_rank
    return rank


def _has_reference(config: DictConfig) -> bool:
    """Whether there is a second model to diverge from; with adapters it is the first without them."""
    wanted = config.actor_rollout_ref.actor.use_kl_loss or config.algorithm.use_kl_in_reward
    return bool(wanted and not _rank(config))


def bucket_gib(config: DictConfig) -> float:
    """GiB of the bucket through which a worker passes its weights on to vLLM."""
    bucket: float = config.actor_rollout_ref.rollout.checkpoint_engine.update_weights_bucket_megabytes
    return bucket / 1024


def _sharded_over(config: DictConfig) -> int:
    """Workers that share one copy of the model: all, or as many as `fsdp_size` says."""
    workers = num_workers(config)
    size: int = config.actor_rollout_ref.actor.fsdp_config.fsdp_size
    return workers if size < 0 else min(size, workers)
