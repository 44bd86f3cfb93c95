"""A start of the real stack takes minutes: what several tests look at is started once, in a fixture."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import psutil
import pytest

from benchmarks import memory
from tasks.new.__main__ import write
from tasks.registry import load_pack

ROOT = Path(__file__).parents[2]
TIMEOUT_S = 900
NUM_HELD_OUT = 60


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The complete lines of a JSON-lines file."""
    if not path.exists():
        return []
    text = path.read_text()
    return [json.loads(line) for line in text[: text.rfind("\n") + 1].split("\n")[:-1]]


@dataclass
class Run:
    """One run: its command, and once it was started, what it does and what it leaves in its folder.

    Attributes:
        folder: Its `run.dir`.
        overrides: Of the command line, but for `run.dir`.
        environment: Its environment; None for ours.
        printed: What a person saw of it, once it has ended.
        peak_gib: Most memory that `watch` saw it take (PSS of all its processes).
        engine_cpu_s: By process id: CPU seconds that `watch` saw each vLLM engine work once the first line of
            metrics was written.
        titles: Command lines of all descendants that `watch` saw.
    """

    folder: Path
    overrides: tuple[str, ...]
    environment: dict[str, str] | None = None
    printed: str = ""
    peak_gib: float = 0.0
    engine_cpu_s: dict[int, float] = field(default_factory=dict)
    titles: set[str] = field(default_factory=set)

    def start(self) -> subprocess.Popen[str]:
        """Start it."""
        command = [sys.executable, "-m", "recipe.main_azr", *self.overrides, f"run.dir={self.folder}"]
        return subprocess.Popen(
            command,
            cwd=ROOT,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def finish(
        self, process: subprocess.Popen[str] | None = None, status: int = 0, timeout_s: float = TIMEOUT_S
    ) -> Run:
        """Run it to its end, which has to be `status`."""
        process = process or self.start()
        try:
            self.printed, _ = process.communicate(timeout=timeout_s)
        except subprocess.TimeoutExpired:
            pytest.fail(f"the run did not end in time: {self.log()}")
        finally:
            kill(process)
        assert process.returncode == status, self.printed + self.log()
        return self

    def watch(self, status: int = 0) -> Run:
        """Run it to its end, which has to be `status`, and look at its processes."""
        process = self.start()
        deadline = time.monotonic() + TIMEOUT_S
        first: dict[int, float] = {}
        num_lines = len(self.metrics)  # of the run that this one goes on with
        weighed = -math.inf  # when its memory was last looked at
        took_s = 0.0
        while process.poll() is None and time.monotonic() < deadline:
            root = psutil.Process(process.pid)  # a zombie until it is waited for, so it is there
            titles = {child: title_of(child) for child in root.children(recursive=True)}
            self.titles |= set(filter(None, titles.values()))
            if len(self.metrics) > num_lines:
                for engine in [child for child, title in titles.items() if "EngineCore" in title]:
                    now = cpu_s(engine)
                    worked = now - first.setdefault(engine.pid, now)
                    self.engine_cpu_s[engine.pid] = max(worked, self.engine_cpu_s.get(engine.pid, 0.0))
            began = time.monotonic()
            if began - weighed > 10 * took_s:  # a tenth of a core: the run needs both
                self.peak_gib = max(self.peak_gib, memory.total(memory.sample(root)) / memory.GIB)
                weighed = time.monotonic()
                took_s = weighed - began
            time.sleep(1.0)
        return self.finish(process, status, timeout_s=1.0 if process.poll() is None else TIMEOUT_S)

    def log(self) -> str:
        """The end of its log, for a failing test's message."""
        path = self.folder / "log.txt"
        return path.read_text(errors="replace")[-5000:] if path.exists() else ""

    @property
    def metrics(self) -> list[dict[str, Any]]:
        """The lines of `metrics.jsonl`."""
        return read_lines(self.folder / "metrics.jsonl")

    @property
    def ledger(self) -> list[dict[str, Any]]:
        """The lines of `ledger.jsonl` that are responses."""
        return [line for line in read_lines(self.folder / "ledger.jsonl") if line["role"] != "alarm"]

    @cached_property
    def summary(self) -> dict[str, Any]:
        """`summary.json` of a run that has ended."""
        found: dict[str, Any] = json.loads((self.folder / "summary.json").read_text())
        return found

    def actor(self, step: int) -> Path:
        """verl's part of a checkpoint."""
        return self.folder / "checkpoints" / f"global_step_{step}" / "actor"

    def export(self) -> Path:
        """Export its newest checkpoint; return the directory that the command prints."""
        done = subprocess.run(
            [sys.executable, "-m", "recipe.export", self.folder],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return Path(done.stdout.rstrip("\n"))

    def assert_rollout_matches_actor(self, *, bypass: bool = True) -> None:
        """vLLM samples from the weights that were trained: fp32 on both sides leaves only rounding.

        With `bypass` the update compares its log-probabilities with those of sampling; else verl does before.
        """
        name = "actor/ppo_kl" if bypass else "training/rollout_probs_diff_max"
        found = [line[name] for line in self.metrics if line["step"] > 0]
        assert found
        assert all(abs(difference) < (1e-5 if bypass else 1e-4) for difference in found)
        assert any(found), "no two engines agree exactly"


def title_of(process: psutil.Process) -> str:
    """Its name and command line; "" once it is gone."""
    try:
        return " ".join([process.name(), *process.cmdline()])
    except psutil.NoSuchProcess:
        return ""


def cpu_s(process: psutil.Process) -> float:
    """Its CPU seconds so far; 0 once it is gone."""
    try:
        times = process.cpu_times()
    except psutil.NoSuchProcess:
        return 0.0
    return times.user + times.system


def kill(process: subprocess.Popen[str]) -> None:
    """End a process with its descendants, if it has not ended."""
    if process.poll() is None:
        for child in psutil.Process(process.pid).children(recursive=True):
            child.kill()
        process.kill()
        process.wait()


@pytest.fixture(scope="session")
def make_run() -> type[Run]:
    """`Run`: a conftest is no module to import from."""
    return Run


@pytest.fixture(scope="session")
def model_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """A model for a pack, smaller than the tiny one and barely warmed up: it need not be good at anything."""
    cache = tmp_path_factory.mktemp("tiny-models")

    def build(pack: str, steps: int = 60, **knobs: object) -> Path:
        from recipe.tiny_model import TinyModelConfig
        from recipe.tiny_model.cache import ensure_tiny_model

        # A step takes a quarter of the tiny model's time. One process: another takes seconds to import torch.
        size = {"hidden_size": 64, "intermediate_size": 192, "num_layers": 2}
        config = TinyModelConfig(steps=steps, batch_size=32, num_processes=1, **size)
        return ensure_tiny_model(load_pack({"_target_": pack, **knobs}), config, cache)

    return build


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """The pack `greek_numbers`, which is no part of this repository, as pip installs it.

    Attributes:
        site: Where it is installed.
        model: A tiny model for it.
    """

    site: Path
    model: Path

    @property
    def overrides(self) -> tuple[str, ...]:
        """The demo with this pack and model, and less of everything."""
        return (
            "experiment=demo",
            "pack=greek_numbers",
            f"actor_rollout_ref.model.path={self.model}",
            f"data.val_max_samples={NUM_HELD_OUT}",
            "azr.proposals_per_kind=4",
            "azr.attempts_per_record=4",
            "trainer.save_freq=1",
        )

    def environment(self, site: Path | None = None) -> dict[str, str]:
        """The environment of a run that finds the pack, or a copy of it."""
        paths = [str(site or self.site), *filter(None, [os.environ.get("PYTHONPATH")])]
        return os.environ | {"PYTHONPATH": os.pathsep.join(paths)}


@pytest.fixture(scope="module")
def elsewhere(
    tmp_path_factory: pytest.TempPathFactory, model_of: Callable[..., Path], patch: pytest.MonkeyPatch
) -> Elsewhere:
    """A pack that `tasks.new` wrote and pip installed."""
    folder = tmp_path_factory.mktemp("elsewhere")
    write("greek_numbers", folder / "source")
    pip = [sys.executable, "-m", "pip", "install", "-qq", "--no-deps", "--no-build-isolation"]
    subprocess.run([*pip, "--target", folder / "site", folder / "source"], check=True)
    patch.syspath_prepend(str(folder / "site"))
    patch.setenv("PYTHONPATH", str(folder / "site"), prepend=os.pathsep)  # for what is started: an export
    # So far that it proposes tasks of both kinds, and a seeding ends.
    return Elsewhere(folder / "site", model_of("greek_numbers", steps=160))


@pytest.fixture(scope="session")
def estimated_gib() -> Callable[..., float]:
    """What `recipe.doctor` estimates for the memory of one node."""

    def estimate(*overrides: str) -> float:
        from hydra import compose, initialize_config_dir

        from recipe.config import CONF, register
        from recipe.preflight.memory import estimate_host
        from recipe.preflight.model import find_config, shape_of

        register()
        with initialize_config_dir(str(CONF), version_base=None):
            config = compose("azr", list(overrides))
        shape = shape_of(find_config("tiny") or {})
        assert shape is not None
        return estimate_host(config, shape).peak_gib

    return estimate


@pytest.fixture(scope="module")
def patch() -> Iterator[pytest.MonkeyPatch]:
    """A monkeypatch that lasts as long as a module's fixtures."""
    with pytest.MonkeyPatch.context() as made:
        yield made


@pytest.fixture(scope="session")
def assert_export_is_the_policy() -> Callable[[Run, int, Path, int], None]:
    """What `recipe.export` writes computes what the shards do, and the base does not, if a step moved it."""

    def check(run: Run, step: int, base: Path, num_held_out: int) -> None:
        import torch
        from torch.distributed.tensor import DTensor
        from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

        def policy_of(actor: Path) -> Any:
            """The policy of verl's folder, put together from its shards without verl's merger."""
            shards = [
                torch.load(path, weights_only=False) for path in sorted(actor.glob("model_world_size_*.pt"))
            ]
            weights = {}
            for name, first in shards[0].items():
                assert isinstance(first, DTensor)
                # FSDP2 cuts every weight along its first axis, one piece a rank.
                weights[name] = torch.cat([shard[name].to_local() for shard in shards]).reshape(first.shape)
            model = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(actor / "huggingface"))
            model.load_state_dict(weights)
            return model.eval()

        out = run.export()
        assert out == run.folder / "export" / f"step_{step}"
        exported = AutoModelForCausalLM.from_pretrained(out)
        tokenizer = AutoTokenizer.from_pretrained(out)
        trained = policy_of(run.actor(step))
        prompt = run.ledger[0]["prompt"]
        tokens = tokenizer.apply_chat_template(prompt, add_generation_prompt=True, return_tensors="pt")
        asked = tokens["input_ids"]
        with torch.no_grad():
            expected = trained(asked).logits
            torch.testing.assert_close(exported(asked).logits, expected, atol=1e-5, rtol=0)
            difference = (AutoModelForCausalLM.from_pretrained(base)(asked).logits - expected).abs().max()
        # With every response malformed there is nothing to learn; a barely warmed-up model has such steps.
        moved = any(line.get("actor/grad_norm", 0) > 0 for line in run.metrics)
        assert (difference > 1e-4) == moved
        answers = [
            model.generate(**tokens, max_new_tokens=24, do_sample=False) for model in (exported, trained)
        ]
        assert torch.equal(*answers)
        assert f"n={num_held_out}" in (out / "README.md").read_text()

    return check
