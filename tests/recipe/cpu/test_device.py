"""The stand-in for `torch.cuda`: what verl calls on it must exist and report this process and machine."""

from __future__ import annotations

import pytest


@pytest.fixture(scope="module", autouse=True)
def stack() -> None:
    """Import torch when a test runs: it takes seconds, and every pytest collects this file."""
    global torch, device
    import torch

    from recipe.cpu.platform import CpuPlatform

    device = CpuPlatform().device_module


def test_memory_is_that_of_this_process_and_machine() -> None:
    block = torch.ones(16 * 2**20)  # 64 MiB, written to, so resident
    assert block.nbytes < device.memory_allocated() <= device.max_memory_allocated()
    assert block.nbytes < device.memory_reserved() <= device.max_memory_reserved()
    available, total = device.mem_get_info()
    assert 0 < available < total


def test_random_state_is_that_of_pytorch() -> None:
    state = device.get_rng_state()
    first = torch.rand(3)
    device.set_rng_state(state)
    assert torch.equal(torch.rand(3), first)


def test_seeding_repeats_the_numbers() -> None:
    device.manual_seed(7)
    first = torch.rand(3)
    device.manual_seed(7)
    assert torch.equal(torch.rand(3), first)
