"""All attempts at a task in one request, for what verl 0.9.1 has one request a response.

With verl a response takes a Ray call to the load balancer and one to the server, which for a small model cost
more than the model. Here a task's attempts take two calls together: verl's server learns to answer them
(`recipe.plugin`, wherever it is imported), and the agent loops ask it through `generate_many`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from types import ModuleType
from typing import Any
from uuid import uuid4

from verl.workers.rollout.llm_server import LLMServerClient
from verl.workers.rollout.replica import TokenOutput


def extend_server(servers: ModuleType) -> None:
    """Give the server in `servers`, verl's module, the method that `generate_many` calls.

    Raises:
        AttributeError: verl has no such server any more.
    """
    servers.vLLMHttpServer.generate_many = _generate_many


async def _generate_many(
    server: Any, prompt_ids: list[int], sampling_params: dict[str, Any], num_responses: int
) -> list[TokenOutput]:
    from vllm.sampling_params import RequestOutputKind

    # vLLM streams every token of every request to its caller unless told not to; the agent loops want the
    # finished response. And `generate` takes entries out of the parameters, so each has its own.
    params = sampling_params | {"output_kind": RequestOutputKind.FINAL_ONLY}
    requests = (
        server.generate(prompt_ids, dict(params), request_id=uuid4().hex) for _ in range(num_responses)
    )
    return await asyncio.gather(*requests)


async def generate_many(
    client: LLMServerClient, prompt_ids: Sequence[int], sampling_params: dict[str, Any], num_responses: int
) -> list[TokenOutput]:
    """`num_responses` responses to one prompt, in flight together, of one server: they share a cached prefix.

    Raises:
        RayError: The server is gone, or failed at one of them.
    """
    session = uuid4().hex
    server_id, server = await client._acquire_server(session, prompt_ids=prompt_ids)
    try:
        outputs: list[TokenOutput] = await server.generate_many.remote(
            list(prompt_ids), sampling_params, num_responses
        )
    finally:
        client._release_server(server_id, request_id=session)
    for output in outputs:  # the weights that it was sampled from, as verl's client has them
        steps = output.extra_fields.get("global_steps")
        output.extra_fields |= {"min_global_steps": steps, "max_global_steps": steps}
    return outputs
