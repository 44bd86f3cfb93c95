"""launch/slurm.sbatch under a real Slurm: a controller and two nodes on this machine.

Run: make test-slurm. Needs Debian's packages slurm-wlm and munge.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from getpass import getuser
from pathlib import Path

import psutil
import pytest

from tasks.registry import load_pack

pytestmark = [pytest.mark.slow, pytest.mark.slurm]

ROOT = Path(__file__).parents[2]
PATH = f"{Path(sys.executable).parent}:{os.environ['PATH']}:/usr/sbin"
PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "scontrol", "scancel")
NODES = ("node1", "node2")
TIMEOUT_S = 900

SMALL = (
    "experiment=demo",
    "trainer.nnodes=2",
    "azr.proposals_per_kind=2",
    "azr.attempts_per_record=2",
    "azr.seeding.target=1",
    "azr.seeding.max_waves=0",
    "data.val_max_samples=12",
    "trainer.save_freq=1",
)

CONFIGURATION = """\
ClusterName=azr-test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
# Ids that no job of another Slurm on this machine has: by them the tests find processes.
FirstJobId={ports[0]}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdSpoolDir={folder}/%n
SlurmdPidFile={folder}/%n.pid
# No control groups, which a container may not make. Slurm then finds a job's processes by their parents: what
# has left its parents Slurm does not end, and our scripts must.
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
SelectType=select/linear
MpiDefault=none
TaskProlog={folder}/task_prolog
NodeName=node1 NodeHostname={host} NodeAddr=127.0.0.2 Port={ports[1]} CPUs={cpus}
NodeName=node2 NodeHostname={host} NodeAddr=127.0.0.3 Port={ports[2]} CPUs={cpus}
PartitionName=all Nodes=node[1-2] Default=YES State=UP
"""

# Both nodes are this machine, and Ray would find one address for both.
TASK_PROLOG = """\
#!/bin/sh
case "$SLURMD_NODENAME" in
  node1) echo export AZR_NODE_IP=127.0.0.2 ;;
  node2) echo export AZR_NODE_IP=127.0.0.3 ;;
esac
"""


@dataclass(frozen=True)
class Slurm:
    """A cluster that runs.

    Attributes:
        environment: Of its commands, and so of the jobs that they submit.
        folder: Where its daemons write.
    """

    environment: dict[str, str]
    folder: Path

    def ask(self, *command: str) -> str:
        """The output of one of Slurm's commands, from the root of the checkout."""
        done = subprocess.run(
            command, cwd=ROOT, env=self.environment, capture_output=True, text=True, timeout=60
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def num_idle(self) -> int:
        """Nodes that wait for a job; 0 before the controller answers."""
        done = subprocess.run(
            ["sinfo", "--noheader", "--Node", "--states=idle", "--format=%N"],
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=60,
        )
        return len(done.stdout.split())

    def submit(self, output: Path, *overrides: str) -> str:
        """Submit a run on both nodes; return the job's id."""
        options = ["--parsable", "--nodes=2", f"--output={output}"]
        return self.ask("sbatch", *options, "launch/slurm.sbatch", *SMALL, *overrides)

    def state(self, job: str) -> str:
        """PENDING, RUNNING, COMPLETED, FAILED, CANCELLED, ..."""
        return self.ask("squeue", "--noheader", "--states=all", f"--jobs={job}", "--format=%T")

    def wait(self, job: str, reached: Callable[[str], bool], tell: Callable[[], str]) -> None:
        """Poll until `reached` likes the job's state; fail if the job ends before, or it takes too long."""
        deadline = time.monotonic() + TIMEOUT_S
        while not reached(state := self.state(job)):
            assert state in ("PENDING", "RUNNING", "COMPLETING"), tell()
            assert time.monotonic() < deadline, tell()
            time.sleep(1)


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on, found by listening on all of them at once."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [opened.getsockname()[1] for opened in sockets]
    for opened in sockets:
        opened.close()
    return ports


@pytest.fixture(scope="module")
def slurm() -> Iterator[Slurm]:
    """A controller, two nodes and their munge, with files, ports and a key of their own."""
    missing = [program for program in PROGRAMS if shutil.which(program, path=PATH) is None]
    assert not missing, f"{', '.join(missing)} not found; apt-get install slurm-wlm munge"
    # Not under pytest's own directory: munge refuses a socket where others may not reach it.
    folder = Path(tempfile.mkdtemp(prefix="azr-slurm-"))
    folder.chmod(0o755)
    for name in ("state", *NODES):
        (folder / name).mkdir()
    key = folder / "munge.key"
    key.touch(mode=0o600)
    key.write_bytes(secrets.token_bytes(128))
    configuration = folder / "slurm.conf"
    ports = free_ports(4)
    host = socket.gethostname().partition(".")[0]
    configuration.write_text(
        CONFIGURATION.format(host=host, ports=ports, user=getuser(), folder=folder, cpus=os.cpu_count())
    )
    prolog = folder / "task_prolog"
    prolog.write_text(TASK_PROLOG)
    prolog.chmod(0o755)
    environment = os.environ | {
        "PATH": PATH,
        "PYTHONPATH": str(ROOT),
        "SLURM_CONF": str(configuration),
        "AZR_PORT": str(ports[3]),
        "AZR_LOG_DIR": str(folder / "logs"),
        # Logical slots, not cores (conf/cluster/cpu_1.yaml).
        "AZR_NUM_CPUS": "8",
        "AZR_NUM_GPUS": "1",
    }
    munge_files = [
        f"--{option}={folder}/munge.{name}"
        for option, name in (
            ("key-file", "key"),
            ("socket", "socket"),
            ("pid-file", "pid"),
            ("seed-file", "seed"),
        )
    ]
    commands = {
        "munged": ["munged", "--foreground", *munge_files],
        "slurmctld": ["slurmctld", "-D"],
        **{node: ["slurmd", "-D", "-N", node] for node in NODES},
    }
    cluster = Slurm(environment, folder)
    daemons = []
    try:
        for name, command in commands.items():
            with (folder / f"{name}.log").open("wb") as log:
                daemons.append(subprocess.Popen(command, env=environment, stdout=log, stderr=log))
        deadline = time.monotonic() + 60
        while cluster.num_idle() < len(NODES):
            told = "".join((folder / f"{name}.log").read_text()[-2000:] for name in commands)
            assert time.monotonic() < deadline, f"no two idle nodes within 60 s\n{told}"
            time.sleep(0.5)
        yield cluster
    finally:
        for daemon in reversed(daemons):
            daemon.terminate()
            daemon.wait(timeout=60)
        shutil.rmtree(folder)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model that has learnt nothing: it need not be good at anything here."""
    from recipe.tiny_model import TinyModelConfig
    from recipe.tiny_model.cache import ensure_tiny_model

    pack = load_pack({"_target_": "arithmetic", "terse": True})
    config = TinyModelConfig(steps=1, batch_size=2, num_processes=1)
    return ensure_tiny_model(pack, config, tmp_path_factory.mktemp("tiny-models"))


def processes_of(job: str) -> dict[psutil.Process, str]:
    """The node of each process of a job: those that say so in their environment, and their descendants."""
    found: dict[psutil.Process, str] = {}
    for process in psutil.process_iter():
        try:
            environment = process.environ()
            if environment.get("SLURM_JOB_ID") == job:
                # Ray's workers write their titles over their environment.
                family = [process, *process.children(recursive=True)]
                found |= dict.fromkeys(family, environment.get("SLURMD_NODENAME", ""))
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return found


def assert_gone(job: str) -> None:
    """No process of a job outlives it for long: Ray's workers end when they miss their node's raylet."""
    _, alive = psutil.wait_procs(processes_of(job), timeout=30)
    assert not alive
    assert not processes_of(job)


def nodes_with_engine(processes: dict[psutil.Process, str]) -> set[str]:
    """The nodes that a vLLM engine is on."""
    return {node for process, node in processes.items() if "EngineCore" in "".join(process.cmdline())}


def steps_of(run_dir: Path) -> list[int]:
    """The steps whose metrics a run has written."""
    metrics = run_dir / "metrics.jsonl"
    lines = metrics.read_text().splitlines(keepends=True) if metrics.exists() else []
    return [json.loads(line)["step"] for line in lines if line.endswith("\n")]


def told(tmp_path: Path) -> str:
    """What a job and its run wrote, for a failing test's message."""
    logs = [*tmp_path.rglob("*.out"), *tmp_path.rglob("log.txt")]
    return "\n".join(f"{log}:\n{log.read_text(errors='replace')[-3000:]}" for log in logs)


def test_a_job_on_two_nodes_trains_to_its_end(slurm: Slurm, model: Path, tmp_path: Path) -> None:
    job = slurm.submit(
        tmp_path / "job.out",
        f"run.dir={tmp_path / 'run'}",
        f"actor_rollout_ref.model.path={model}",
        "trainer.total_training_steps=2",
    )
    slurm.wait(job, lambda state: state == "COMPLETED", lambda: told(tmp_path))
    assert steps_of(tmp_path / "run") == [0, 1, 2]
    assert_gone(job)


def test_a_cancelled_job_leaves_no_process(slurm: Slurm, model: Path, tmp_path: Path) -> None:
    job = slurm.submit(
        tmp_path / "job.out",
        f"run.dir={tmp_path / 'run'}",
        f"actor_rollout_ref.model.path={model}",
        "trainer.total_training_steps=1000",
    )
    slurm.wait(job, lambda _: 1 in steps_of(tmp_path / "run"), lambda: told(tmp_path))
    processes = processes_of(job)
    assert nodes_with_engine(processes) == set(NODES)
    slurm.ask("scancel", job)
    slurm.wait(job, lambda state: state == "CANCELLED", lambda: told(tmp_path))
    _, alive = psutil.wait_procs(processes, timeout=30)
    assert not alive
    assert_gone(job)
    assert not list(slurm.folder.rglob("token"))
