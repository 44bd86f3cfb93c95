"""launch/slurm.sbatch with stubs for Slurm, Ray and the training: what it asks for, and how it fails."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

STUBS = {
    "scontrol": 'printf "%s\\n" $STUB_NODES',
    # Runs the command of a step here, as on the node it is for.
    "srun": 'echo "$@" >>srun.calls\nwhile [ "${1#--}" != "$1" ]; do shift; done\nexec "$@"',
    "ray": 'case "$1 $2" in\n"start --head") eval "$STUB_HEAD" ;;\n"status "*) eval "$STUB_STATUS" ;;\nesac',
    "python": 'case "$1" in\n-c) echo 127.0.0.1 ;;\n*) printf "<%s>" "$@"; exit "$STUB_EXIT" ;;\nesac',
}


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout with nothing but the scripts, and the stubs."""
    shutil.copytree(ROOT / "launch", tmp_path / "launch")
    (tmp_path / "bin").mkdir()
    for name, body in STUBS.items():
        stub = tmp_path / "bin" / name
        stub.write_text(f"#!/bin/bash\n{body}\n")
        stub.chmod(0o755)
    return tmp_path


def submit(checkout: Path, *overrides: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run the script as the first node of a job would: of two nodes, unless said, that both come up."""
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    environment = {
        "PATH": f"{checkout / 'bin'}:{os.environ['PATH']}",
        "HOME": str(checkout),
        "SLURM_SUBMIT_DIR": str(checkout),
        "SLURM_JOB_ID": "7",
        "SLURM_JOB_NODELIST": "node[1-2]",
        "SLURM_CPUS_ON_NODE": "4",
        "AZR_PORT": str(port),
        "AZR_WAIT_S": "0",
        "STUB_NODES": "node1 node2",
        "STUB_HEAD": "sleep 60",
        "STUB_STATUS": "printf ' 1 node_a\\n 1 node_b\\n'",
        "STUB_EXIT": "0",
    }
    # Slurm runs a copy of its own.
    script = shutil.copy(checkout / "launch" / "slurm.sbatch", checkout / "slurm_script")
    return subprocess.run(
        ["bash", script, *(overrides or ("run.dir=runs/mine",))],
        cwd="/",
        env=environment | variables,
        capture_output=True,
        text=True,
        timeout=30,
    )


def test_the_head_is_on_the_first_node_and_a_worker_on_each_other(checkout: Path) -> None:
    done = submit(
        checkout,
        "run.dir=runs/mine",
        "a='b c'",
        STUB_NODES="node1 node2 node3",
        STUB_STATUS="yes ' 1 node_' | head -3",
    )
    assert done.returncode == 0, done.stderr
    assert "<-m><recipe.main_azr><run.dir=runs/mine><a='b c'>" in done.stdout
    both = "--export=ALL --cpu-bind=none"
    assert sorted((checkout / "srun.calls").read_text().splitlines()) == [
        f"{both} --nodes=1 --ntasks=1 --nodelist=node1 launch/ray_head.sh run.dir=runs/mine a='b c'",
        f"{both} --nodes=2 --ntasks=2 --nodelist=node2,node3 launch/ray_worker.sh",
    ]


def test_one_node_needs_no_worker(checkout: Path) -> None:
    done = submit(checkout, STUB_NODES="node1")
    assert done.returncode == 0, done.stderr
    (call,) = (checkout / "srun.calls").read_text().splitlines()
    assert "launch/ray_head.sh" in call


def test_the_job_ends_as_the_training_does_and_removes_its_token(checkout: Path) -> None:
    done = submit(checkout, STUB_EXIT="3")
    assert done.returncode == 3
    logs = checkout / "runs" / "logs" / "slurm_7"
    assert (logs / "attempt_1" / "head.log").exists()
    assert not (logs / "token").exists()


def test_a_requeued_job_keeps_the_logs_of_the_first_attempt(checkout: Path) -> None:
    # The nodes are there only once the head has said so, or it might be stopped before.
    status = "until [ -e is_up ]; do sleep 0.01; done; printf ' 1 node_a\\n 1 node_b\\n'"
    for _ in range(2):
        done = submit(checkout, STUB_HEAD="echo up; touch is_up; sleep 60", STUB_STATUS=status)
        assert done.returncode == 0, done.stderr
        (checkout / "is_up").unlink()
    logs = checkout / "runs" / "logs" / "slurm_7"
    assert [(logs / attempt / "head.log").read_text() for attempt in ("attempt_1", "attempt_2")] == [
        "up\n"
    ] * 2


def test_no_node_came(checkout: Path) -> None:
    done = submit(checkout, STUB_STATUS="echo ' 1 node_a'")
    assert done.returncode == 1
    assert "AZR_NNODES=2 nodes must join within AZR_WAIT_S=0 seconds; 1 are there" in done.stderr


def test_the_head_died(checkout: Path) -> None:
    done = submit(checkout, STUB_HEAD="echo no memory; exit 1", STUB_STATUS="false", AZR_WAIT_S="20")
    assert done.returncode == 1
    assert "Ray's head ended: no memory" in done.stderr


def test_a_job_submitted_from_elsewhere_says_so(checkout: Path) -> None:
    (checkout / "elsewhere").mkdir()
    done = submit(checkout, SLURM_SUBMIT_DIR=str(checkout / "elsewhere"))
    assert done.returncode == 2
    assert "sbatch must be called in the root of the checkout" in done.stderr


def test_without_a_directory_a_requeued_job_would_begin_anew(checkout: Path) -> None:
    done = submit(checkout, "experiment=azr_coder_7b")
    assert done.returncode == 2
    assert done.stderr.startswith("error: run.dir must be given")
