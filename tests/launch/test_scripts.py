"""The launch scripts with stubs for `ray` and `python`: what they start, refuse and leave behind."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

ROOT = Path(__file__).parents[2]

RAY = """#!/usr/bin/env bash
until [ "$1" != status ] || [ -s "$STUB_CALLS.pid" ]; do sleep 0.01; done
echo "ray $*" >>"$STUB_CALLS"
case "$1" in
  start)
    echo "$STUB_SAYS"
    echo $$ >"$STUB_CALLS.pid"
    [ -n "$STUB_ENDS" ] || exec sleep 60
    exit "$STUB_ENDS"
    ;;
  status) for i in $(seq "$STUB_NODES"); do echo " 1 node_$i"; done ;;
esac
"""
PYTHON = """#!/usr/bin/env bash
echo "python $*" >>"$STUB_CALLS"
echo "RAY_ADDRESS=$RAY_ADDRESS AZR_NNODES=$AZR_NNODES RAY_AUTH_MODE=$RAY_AUTH_MODE" >>"$STUB_CALLS"
exit 3
"""


class Checkout:
    """A folder with the scripts, without the `.venv` that would come before the stubs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.token = folder / "home" / ".ray" / "auth_token"
        self.calls_file = folder / "calls"
        shutil.copytree(ROOT / "launch", folder / "launch")
        (folder / "bin").mkdir()
        for name, text in (("ray", RAY), ("python", PYTHON)):
            (folder / "bin" / name).write_text(text)
            (folder / "bin" / name).chmod(0o755)

    def give_token(self, mode: int = 0o600) -> None:
        """A token where Ray looks for it by itself."""
        self.token.parent.mkdir(parents=True)
        self.token.write_text("secret")
        self.token.chmod(mode)

    def popen(self, script: str, *arguments: str, **variables: str) -> subprocess.Popen[str]:
        """Start a script."""
        stubs = {
            "PATH": f"{self.folder / 'bin'}:/usr/bin:/bin",
            "HOME": str(self.folder / "home"),
            "STUB_CALLS": str(self.calls_file),
            "STUB_NODES": "1",
            "STUB_SAYS": "Ray runtime started",
            "STUB_ENDS": "",
        }
        command = [self.folder / "launch" / script, *arguments]
        pipe = subprocess.PIPE
        return subprocess.Popen(command, env=stubs | variables, stdout=pipe, stderr=pipe, text=True)

    def run(self, script: str, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run a script to its end."""
        with self.popen(script, *arguments, **variables) as process:
            output, errors = process.communicate(timeout=60)
        return subprocess.CompletedProcess(process.args, process.returncode, output, errors)

    @property
    def calls(self) -> list[str]:
        """Commands that the script ran."""
        return self.calls_file.read_text().splitlines() if self.calls_file.exists() else []


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    return Checkout(tmp_path)


@contextmanager
def listener() -> Iterator[str]:
    """A port of this machine on which something listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield str(server.getsockname()[1])


def free_port() -> str:
    """A port of this machine on which nothing listens."""
    with listener() as port:
        return port


def head(**variables: str) -> dict[str, str]:
    """The variables of a head that waits for itself only."""
    given = {"AZR_NNODES": "1", "AZR_NODE_IP": "127.0.0.1", "AZR_PORT": free_port(), "AZR_WAIT_S": "0"}
    return given | variables


def assert_refused(done: subprocess.CompletedProcess[str], *parts: str) -> None:
    """One line that says cause and cure."""
    assert done.returncode == 1
    (line,) = done.stderr.strip().splitlines()
    assert line.startswith("error: ")
    for part in parts:
        assert part in line


def assert_no_ray_left(checkout: Checkout) -> None:
    """What the script started is gone."""
    pid = int(Path(f"{checkout.calls_file}.pid").read_text())
    assert not psutil.pid_exists(pid)


def test_head_starts_ray_trains_on_it_and_stops_it(checkout: Checkout) -> None:
    variables = head(AZR_NUM_GPUS="2")
    done = checkout.run("ray_head.sh", "experiment=demo", "run.dir=a b", **variables)
    address = f"127.0.0.1:{variables['AZR_PORT']}"
    assert done.returncode == 3, done.stderr
    assert (
        "ray start --head --block --include-dashboard=false --node-ip-address=127.0.0.1" in checkout.calls[0]
    )
    assert checkout.calls[0].endswith(f"--port={variables['AZR_PORT']} --num-gpus=2")
    assert checkout.calls[-2:] == [
        "python -m recipe.main_azr experiment=demo run.dir=a b",
        f"RAY_ADDRESS={address} AZR_NNODES=1 RAY_AUTH_MODE=token",
    ]
    assert_no_ray_left(checkout)


def test_head_makes_a_token_for_its_owner_alone_and_says_it_nowhere(checkout: Checkout) -> None:
    for _ in range(2):
        done = checkout.run("ray_head.sh", **head())
        assert done.returncode == 3, done.stderr
        Path(f"{checkout.calls_file}.pid").unlink()
    token = checkout.token.read_text()
    assert len(token) == 64 and int(token, 16)
    assert checkout.token.stat().st_mode & 0o777 == 0o600
    logs = [path.read_text() for path in (checkout.folder / "runs").rglob("*.log")]
    assert len(logs) == 2
    assert not [text for text in [*checkout.calls, *logs, done.stdout, done.stderr] if token in text]


def test_every_attempt_has_a_log_of_its_own(checkout: Checkout) -> None:
    for number in (1, 2):
        checkout.run("ray_head.sh", STUB_SAYS=f"attempt {number}", **head())
        Path(f"{checkout.calls_file}.pid").unlink()
    logs = checkout.folder / "runs" / "logs"
    assert [(logs / f"attempt_{n}" / "head.log").read_text() for n in (1, 2)] == [
        "attempt 1\n",
        "attempt 2\n",
    ]


def test_head_gives_up_when_nodes_do_not_come(checkout: Checkout) -> None:
    done = checkout.run("ray_head.sh", **head(AZR_NNODES="3"))
    assert_refused(done, "AZR_NNODES=3", "AZR_WAIT_S=0", "1 are there", "launch/ray_worker.sh")
    assert not [call for call in checkout.calls if call.startswith("python")]
    assert_no_ray_left(checkout)


def test_head_refuses_a_port_in_use(checkout: Checkout) -> None:
    with listener() as port:
        done = checkout.run("ray_head.sh", **head(AZR_PORT=port))
    assert_refused(done, f"port {port} of 127.0.0.1", "AZR_PORT")
    assert checkout.calls == []


def test_head_says_why_ray_ended(checkout: Checkout) -> None:
    done = checkout.run(
        "ray_head.sh", STUB_SAYS="no room", STUB_ENDS="1", **head(AZR_NNODES="2", AZR_WAIT_S="5")
    )
    assert_refused(done, "Ray's head ended: no room", "attempt_1/head.log")


def test_worker_lends_its_node_until_the_head_ends(checkout: Checkout) -> None:
    checkout.give_token()
    with listener() as port:
        done = checkout.run(
            "ray_worker.sh",
            AZR_HEAD_ADDRESS="127.0.0.1",
            AZR_PORT=port,
            AZR_NODE_IP="10.0.0.2",
            STUB_ENDS="1",
        )
    assert done.returncode == 0, done.stderr
    assert checkout.calls == [
        f"ray start --block --address=127.0.0.1:{port} --node-ip-address=10.0.0.2",
    ]
    assert "has ended" in done.stdout


def test_worker_gives_up_when_no_head_comes(checkout: Checkout) -> None:
    port = free_port()
    done = checkout.run("ray_worker.sh", AZR_HEAD_ADDRESS="127.0.0.1", AZR_PORT=port, AZR_WAIT_S="0")
    assert_refused(done, f"127.0.0.1:{port}", "AZR_WAIT_S=0", "AZR_HEAD_ADDRESS", "launch/ray_head.sh")


@pytest.mark.parametrize(
    ("says", "parts"),
    [
        (
            "AuthenticationError: InvalidAuthToken: no",
            ["same token", ".ray/auth_token", "Copy the head's file"],
        ),
        ("versions differ", ["did not join", "versions differ", "worker_"]),
    ],
)
def test_worker_says_why_ray_did_not_join(checkout: Checkout, says: str, parts: list[str]) -> None:
    checkout.give_token()
    with listener() as port:
        done = checkout.run(
            "ray_worker.sh",
            AZR_HEAD_ADDRESS="127.0.0.1",
            AZR_PORT=port,
            AZR_WAIT_S="0",
            STUB_SAYS=says,
            STUB_ENDS="1",
        )
    assert_refused(done, *parts)


def test_worker_tries_again_when_ray_was_too_slow(checkout: Checkout) -> None:
    checkout.give_token()
    once = (
        'echo "$*" >>"$STUB_CALLS"; [ "$(wc -l <"$STUB_CALLS")" -lt 2 ] || echo "Ray runtime started"; exit 1'
    )
    (checkout.folder / "bin" / "ray").write_text(f"#!/usr/bin/env bash\n{once}\n")
    with listener() as port:
        done = checkout.run("ray_worker.sh", AZR_HEAD_ADDRESS="127.0.0.1", AZR_PORT=port)
    assert done.returncode == 0, done.stderr
    assert len(checkout.calls) == 2


def test_no_token_is_told_before_ray_is_asked(checkout: Checkout) -> None:
    with listener() as port:
        done = checkout.run("ray_worker.sh", AZR_HEAD_ADDRESS="127.0.0.1", AZR_PORT=port)
    assert_refused(done, "RAY_AUTH_TOKEN_PATH", str(checkout.token), "Start the head first")
    assert_refused(
        checkout.run("ray_submit.sh", "run.dir=/runs/a", RAY_ADDRESS="http://h:8265"), "RAY_AUTH_TOKEN"
    )
    assert checkout.calls == []


def test_a_token_that_others_can_read_is_refused(checkout: Checkout) -> None:
    checkout.give_token(mode=0o644)
    assert_refused(checkout.run("ray_head.sh", **head()), f"chmod 600 {checkout.token}")
    assert checkout.calls == []


def test_submit_ships_the_checkout_and_ends_in_the_entry_point(checkout: Checkout) -> None:
    address = {"RAY_ADDRESS": "http://h:8265", "RAY_AUTH_TOKEN": "secret"}
    assert_refused(checkout.run("ray_submit.sh", "run.dir=runs/a", **address), "run.dir", "absolute path")
    done = checkout.run("ray_submit.sh", "run.dir=/runs/a", "pack=arithmetic", **address)
    assert done.returncode == 0, done.stderr
    (call,) = checkout.calls
    assert call.startswith("ray job submit --runtime-env-json {")
    assert call.endswith("-- python -m recipe.main_azr run.dir=/runs/a pack=arithmetic")
    assert "secret" not in call


@pytest.mark.parametrize(
    ("script", "given", "missing"),
    [
        ("ray_head.sh", {}, "AZR_NNODES: say how many nodes"),
        ("ray_head.sh", {"AZR_NNODES": "2"}, "AZR_NODE_IP: say the address"),
        ("ray_worker.sh", {}, "AZR_HEAD_ADDRESS: say the host name"),
        ("ray_submit.sh", {}, "RAY_ADDRESS: say the address"),
    ],
)
def test_a_missing_variable_is_told(
    checkout: Checkout, script: str, given: dict[str, str], missing: str
) -> None:
    done = checkout.run(script, **given)
    assert done.returncode != 0
    assert missing in done.stderr


def test_no_script_holds_a_hyperparameter() -> None:
    for path in (ROOT / "launch").glob("*.sh"):
        code = [line for line in path.read_text().splitlines() if not line.lstrip().startswith("#")]
        assert not [line for line in code if "trainer." in line or "azr." in line or "actor_rollout" in line]
        if path.name != "env.sh" and path.name != "ray_worker.sh":
            assert code[-1].endswith('python -m recipe.main_azr "$@"')


def test_env_of_a_node_names_its_interface(checkout: Checkout) -> None:
    shown = subprocess.run(
        ["bash", "-c", "source launch/env.sh && env"],
        cwd=checkout.folder,
        env={"PATH": os.environ["PATH"], "HOME": "/h", "AZR_NODE_IP": "10.0.0.2", "AZR_INTERFACE": "ib0"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    assert {"VLLM_HOST_IP=10.0.0.2", "GLOO_SOCKET_IFNAME=ib0", "NCCL_SOCKET_IFNAME=ib0"} <= set(shown)
    assert "RAY_AUTH_TOKEN_PATH=/h/.ray/auth_token" in shown


def test_a_signal_to_the_script_alone_ends_training_and_ray(checkout: Checkout) -> None:
    (checkout.folder / "bin" / "python").write_text(
        '#!/usr/bin/env bash\necho $$ >"$STUB_CALLS.run"; exec sleep 60'
    )
    process = checkout.popen("ray_head.sh", **head())
    training = Path(f"{checkout.calls_file}.run")
    deadline = time.monotonic() + 20
    while not (training.exists() and training.read_text()):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.01)
    run = psutil.Process(int(training.read_text()))
    process.terminate()
    process.wait(timeout=20)
    _, left = psutil.wait_procs([run], timeout=5)  # it may be a moment until its new parent looks at it
    assert left == []
    assert_no_ray_left(checkout)
