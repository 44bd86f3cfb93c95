"""Self-play's agent loops, which verl's agent-loop workers run for each request of a wave, and those workers.

Each loop is a thin adapter: it puts vLLM behind `Generate`, runs `recipe/selfplay/rollout.py`, and hands verl
the tokens together with the facts. It prices nothing: a step is priced by the trainer, when all its facts are
in.

verl finds these classes through `conf/agent_loops.yaml`, in every worker process. Its worker builds a loop
for each session, by Hydra; ours builds it once, for a loop keeps nothing of a session.
"""

from __future__ import annotations

import functools
import json
import logging
from collections.abc import Sequence
from typing import Any

import hydra
import ray
import torch
from omegaconf import OmegaConf
from ray.exceptions import RayError
from verl.experimental.agent_loop.agent_loop import (
    AgentLoopBase,
    AgentLoopMetrics,
    AgentLoopOutput,
    DictConfigWrap,
    ToolListWrap,
    _agent_loop_registry,
)
from verl.trainer.ppo.v1.agent_loop_tq import AgentLoopManagerTQ, AgentLoopWorkerTQ
from verl.workers.rollout.replica import TokenOutput

from recipe.engine.claims import actor_name
from recipe.engine.ending import end_at_stop, end_with
from recipe.engine.replay_buffer import report_pack_error
from recipe.engine.rows import Row, Together, store
from recipe.engine.server import generate_many
from recipe.selfplay.elicit import solve_well_formed
from recipe.selfplay.plan import StepPlan
from recipe.selfplay.rollout import CheckClock, PromptTooLongError, propose_once, solve
from recipe.selfplay.types import PROPOSAL, Attempt, Proposal, Request, Response, share_correct
from rewards.bonus import BUFFER_FEATURES
from tasks.contract import Message, Outcome, TaskPack
from tasks.guard import GuardedPack, ThreadWatch
from tasks.registry import load_pack

logger = logging.getLogger(__name__)

# verl's default reward path asks its reward workers for every output without a score. Scores of training
# samples are written by the trainer once the step is settled, so this stands in until then.
UNPRICED = 0.0

ITEM = "item"
"""By what verl's reward information has the index of a held-out task among those asked."""

# How the sampled attempts of an evaluation are drawn, whatever the run trains with.
SAMPLED = {"temperature": 1.0, "top_p": 1.0, "top_k": -1}

# An evaluation trains nothing, and vLLM takes long to hand over a probability a token.
UNTRAINED = {"logprobs": False}

CLOCK = CheckClock()
"""One a process: it is about all sessions together."""


@functools.lru_cache(maxsize=1)
def _build_pack(config_json: str, deadline_s: float) -> TaskPack:
    # To verl an exception in an agent loop is a missing response, so the trainer hears of a pack's fault.
    watch = ThreadWatch(deadline_s, report_pack_error)
    return GuardedPack(load_pack(json.loads(config_json)), deadline_s, report_pack_error, watch)


class SelfPlayLoop(AgentLoopBase):
    """What the loops share: the pack, and vLLM as `Generate`."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # Each of the loops asks for it; it is built once a process.
        pack_config = json.dumps(OmegaConf.to_container(self.config.pack))
        self.pack = _build_pack(pack_config, self.config.azr.pack_deadline_s)
        stop = self.config.azr.stop_strings
        self.stop: tuple[str, ...] = self.pack.stop_strings if stop is None else tuple(stop)
        self.clock = CLOCK
        self.retries: int = self.config.azr.failures.retries

    async def generate(
        self,
        sampling_params: dict[str, Any],
        messages: Sequence[Message],
        *,
        num_responses: int,
        beginning: str = "",
    ) -> list[Response]:
        """`num_responses` responses, in flight together; those that failed are left out. A `Generate`.

        Their text has the `beginning`, which the model finds behind the prompt as if it had written it.
        """
        # Not `ct_build_initial_tokens`: that one cuts off the beginning of a long prompt and goes on.
        prompt = self.continuous_token_builder.build_initial_tokens(list(messages))
        beginning_ids = self.tokenizer.encode(beginning, add_special_tokens=False)
        prompt_ids = [*prompt, *beginning_ids]
        longest = self.rollout_config.prompt_length
        if len(prompt_ids) > longest:
            raise PromptTooLongError(
                f"a prompt must fit data.max_prompt_length={longest}; got {len(prompt_ids)}"
            )
        params = sampling_params | end_with(self.stop)
        responses: list[Response] = []
        with self.clock.generating():
            for _ in range(self.retries + 1):
                if missing := num_responses - len(responses):
                    outputs = await self._generate_many(prompt_ids, params, missing)
                    responses += [self._to_response(prompt_ids, beginning_ids, output) for output in outputs]
        return responses

    async def _generate_many(
        self, prompt_ids: list[int], params: dict[str, Any], count: int
    ) -> list[TokenOutput]:
        """Up to `count` outputs: those that the server answered, and not with nothing."""
        try:
            outputs = await generate_many(self.server_manager, prompt_ids, params, count)
        except RayError as error:
            logger.warning("a generation request failed: %s", error)
            return []
        answered = [output for output in outputs if output.token_ids]
        if len(answered) < count:
            reasons = sorted({str(output.stop_reason) for output in outputs if not output.token_ids})
            logger.warning("%d responses came back empty (%s)", count - len(answered), ", ".join(reasons))
        return answered

    def _to_response(self, prompt_ids: list[int], beginning_ids: list[int], output: TokenOutput) -> Response:
        response_ids = end_at_stop(
            output.token_ids[: self.rollout_config.response_length], self.stop, self.decode
        )
        tokens = AgentLoopOutput(
            prompt_ids=prompt_ids,
            response_ids=response_ids,  # with its end token, or the one that completes a stop string
            response_mask=[1] * len(response_ids),
            response_logprobs=output.log_probs[: len(response_ids)] if output.log_probs else None,
            reward_score=UNPRICED,
            num_turns=2,
            metrics=AgentLoopMetrics(),
            extra_fields=output.extra_fields,  # what the server tells of the weights that it sampled from
        )
        # All that is trained on is judged, with what the last token holds behind a stop string.
        return Response(self.decode(beginning_ids + response_ids), tokens)

    def decode(self, token_ids: Sequence[int]) -> str:
        """The text of these tokens, without special ones, as vLLM has it where it looks for stop strings."""
        return str(self.tokenizer.decode(token_ids, skip_special_tokens=True))


class ProposeLoop(SelfPlayLoop):
    """One proposal, its check, and the attempts at it."""

    async def run(self, sampling_params: dict[str, Any], **kwargs: Any) -> list[AgentLoopOutput]:
        """Run the request in `kwargs["request"]`; outputs are the trained attempts, then the proposal."""
        request = Request.from_json(kwargs["request"])
        generate = functools.partial(self.generate, sampling_params)
        claims = ray.get_actor(actor_name(self.config.run.dir))
        features = [name for name in self.config.azr.bonus.terms if name not in BUFFER_FEATURES]
        proposal = await propose_once(self.pack, request, generate, claims.claim.remote, features, self.clock)
        outputs = []
        if StepPlan.of(self.config.azr, len(self.pack.kinds)).trains_attempts:
            for number, attempt in enumerate(proposal.attempts):
                outputs.append(_to_output(attempt.response, request.index, number, None))
        outputs.append(_to_output(proposal.response, request.index, PROPOSAL, proposal, self.clock.take()))
        return outputs


class SolveLoop(SelfPlayLoop):
    """One attempt at a record of self-play."""

    async def run(self, sampling_params: dict[str, Any], **kwargs: Any) -> AgentLoopOutput:
        """Run the request in `kwargs["request"]`."""
        request = Request.from_json(kwargs["request"])
        generate = functools.partial(self.generate, sampling_params)
        (attempt,) = await solve(self.pack, request, generate, clock=self.clock)
        return _to_output(attempt.response, request.index, 0, attempt, self.clock.take())


class HeldOutLoop(SelfPlayLoop):
    """A greedy attempt at a held-out record: verl's validation. Its score is a measurement, not a reward.

    With `azr.held_out_samples` there are sampled attempts beside it; their mean is reported, and is no score.
    By `azr.elicit` the model may be made to answer in the trained way.
    """

    async def run(self, sampling_params: dict[str, Any], **kwargs: Any) -> AgentLoopOutput:
        """Run the request in `kwargs["request"]`; the score is 1 for a right answer, else 0."""
        request = Request.from_json(kwargs["request"])
        azr = self.config.azr
        generate = functools.partial(self.generate, beginning=azr.elicit.beginning)
        greedy = functools.partial(generate, sampling_params | UNTRAINED)
        sample = functools.partial(generate, sampling_params | UNTRAINED | SAMPLED)
        ask = functools.partial(solve_well_formed, self.pack, request, num_tries=azr.elicit.format_tries)
        (attempt,) = await ask(greedy, sample)
        sampled = {}
        if azr.held_out_samples:
            sampled["sampled"] = share_correct(await ask(sample, sample, count=azr.held_out_samples))
        output = _to_output(attempt.response, request.index, 0, None)
        correct = float(attempt.outcome is Outcome.CORRECT)
        well_formed = float(attempt.outcome is not Outcome.MALFORMED)
        output.reward_score = correct
        facts = {ITEM: request.index, "acc": correct, "format": well_formed, **sampled}
        output.extra_fields["reward_extra_info"] = facts
        return output


def _to_output(
    response: Response,
    index: int,
    attempt: int | None,
    facts: Proposal | Attempt | None,
    waited_s: float = 0.0,
) -> AgentLoopOutput:
    output: AgentLoopOutput = response.tokens
    # The facts cross verl's storage as one string: it keeps nested values as it likes, and a string as it is.
    output.extra_fields |= {
        "azr_index": index,
        "azr_attempt": attempt,
        "azr_facts": "" if facts is None else facts.to_json(),
        "azr_waited_s": waited_s,
        # verl copies this from the last output of a session to the others, and expects it to be there.
        "reward_extra_info": {},
    }
    return output


class SelfPlayWorker(AgentLoopWorkerTQ.__ray_metadata__.modified_class):
    """verl's worker, for loops of this recipe: of one turn each, with scores of their own."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._together = Together(store)

    @functools.cache  # noqa: B019  (one worker a process, for as long as that lives)
    def _loop(self, agent_name: str) -> AgentLoopBase:
        return hydra.utils.instantiate(
            config=_agent_loop_registry[agent_name],
            trainer_config=DictConfigWrap(config=self.config),
            server_manager=self.llm_client,
            tokenizer=self.tokenizer,
            processor=self.processor,
            hf_model_type=self.hf_model_type,
            dataset_cls=self.dataset_cls,
            data_config=DictConfigWrap(self.config.data),
            tools=ToolListWrap(self.tools),
        )

    async def _run_agent_loop(
        self,
        sampling_params: dict[str, Any],
        trajectory: dict[str, Any],
        *,
        agent_name: str,
        trace: bool = False,
        **kwargs: Any,
    ) -> None:
        """Run a session and store its outputs."""
        found = await self._loop(agent_name).run(sampling_params, **kwargs)
        outputs = found if isinstance(found, list) else [found]
        for output in outputs[:-1]:  # as verl has it: the score and the facts are those of the whole session
            output.reward_score = outputs[-1].reward_score
            output.extra_fields["reward_extra_info"] = outputs[-1].extra_fields["reward_extra_info"]
        rows = [self._row(output, place, kwargs) for place, output in enumerate(outputs)]
        await self._together.put("val" if trajectory["validate"] else "train", rows)

    def _row(self, output: AgentLoopOutput, place: int, session: dict[str, Any]) -> Row:
        """A session's output, the `place`-th, under the key and with the fields that verl gives it."""
        fields = output.as_dict() | session
        tokens = torch.cat([fields["prompts"], fields["responses"]])
        inputs = self._compute_multi_modal_inputs(output, tokens)  # of a model that sees, asked by text alone
        positions = self._compute_position_ids(tokens[None], torch.ones_like(tokens)[None], inputs)
        fields |= {
            "loss_mask": fields["response_mask"],
            "input_ids": tokens,
            "position_ids": positions.squeeze(0),
            "multi_modal_inputs": inputs,
        }
        tag = {
            "status": "success",
            "prompt_len": len(output.prompt_ids),
            "response_len": len(output.response_ids),
            "seq_len": len(tokens),
            "global_steps": session["global_steps"],
            "min_global_steps": output.extra_fields.get("min_global_steps"),
            "max_global_steps": output.extra_fields.get("max_global_steps"),
        }
        return Row(f"{session['uid']}_{session['session_id']}_{place}", fields, tag)


class SelfPlayLoops(AgentLoopManagerTQ):
    """verl's manager, of such workers."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.agent_loop_workers_class = ray.remote(SelfPlayWorker)
