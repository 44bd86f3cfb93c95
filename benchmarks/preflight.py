"""How long a mistake takes to be told: python -m benchmarks.preflight [NAME ...]

Every mistake of `tests/recipe/preflight/test_same_words.py`, or those named, is given to `recipe.doctor` and
to a run, each started as a command. Of both it prints the seconds until the line of the mistake is there and
the CPU time of the whole command, which holds on a busy machine too; then medians and the worst. The exit
status is 1 if the two said different lines of a mistake. It takes about three seconds a mistake.
"""

from __future__ import annotations

import argparse
import os
import runpy
import shlex
import socket
import statistics
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

ROOT = Path(__file__).parent.parent
TABLE = "tests/recipe/preflight/test_same_words.py"
LIMIT_S = 2.0

PREFIXES = {"recipe.doctor": "- ", "recipe.main_azr": "error: "}
"""How each command begins a line that tells a mistake. An override that Hydra refuses ends the doctor too."""

UNSET = ("RAY_ADDRESS", "RAY_TMPDIR", "NETRC", "HF_HUB_OFFLINE")


class Told(NamedTuple):
    """What a command said of a mistake, and what it took."""

    line: str | None
    seconds: float  # until the line was there
    cpu_s: float  # of the whole command


def tell(command: str, overrides: list[str], variables: dict[str, str], said: str) -> Told:
    """Start a command on a mistake; the line that begins as `said` does."""
    kept = {name: value for name, value in os.environ.items() if name not in UNSET and "WANDB" not in name}
    arguments = [sys.executable, "-u", "-m", command, *overrides]
    began, line, seconds = time.monotonic(), None, 0.0
    with subprocess.Popen(
        arguments,
        cwd=ROOT,
        env=kept | variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
    ) as child:
        assert child.stdout is not None
        for each in child.stdout:
            text = each.rstrip("\n").removeprefix(PREFIXES[command]).removeprefix("error: ")
            if line is None and text.startswith(said):
                line, seconds = text, time.monotonic() - began
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
    return Told(line, seconds, usage.ru_utime + usage.ru_stime)


def arguments_of(given: str, folder: Path) -> tuple[list[str], dict[str, str]]:
    """The overrides and the environment variables of a mistake."""
    # An override of the mistake's own comes last, whatever the demo has.
    overrides = ["experiment=demo", f"run.dir={folder}/run", f"run.tiny_model_dir={folder}/tiny"]
    variables = {"HOME": str(folder), "HF_HOME": str(folder / "hub")}
    for part in shlex.split(given):
        key, equals, value = part.partition("=")
        if key.isupper():
            variables[key] = value
        else:
            overrides.append(f"++{part}" if equals else part)
    return overrides, variables


def main() -> int:
    """Measure; 1 if doctor and run do not say the same of every mistake."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.preflight", description=__doc__.partition("\n")[0]
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="mistakes by name (default: all)")
    chosen = parser.parse_args().names
    table = runpy.run_path(str(ROOT / TABLE))
    mistakes = {**table["MISTAKES"], **table["OVERRIDES"]}
    took: dict[str, list[Told]] = {command: [] for command in PREFIXES}
    num_unlike = 0
    print(f"{'mistake':<24}{'doctor':>9}{'CPU':>7}{'run':>9}{'CPU':>7}  same line")
    for name in chosen or mistakes:
        with TemporaryDirectory() as created, socket.create_server(("127.0.0.1", 0)) as server:
            folder, address = Path(created), f"127.0.0.1:{server.getsockname()[1]}"
            server.close()  # nothing listens there any more
            table["furnish"](folder)
            given, said = (
                text.replace("FOLDER", str(folder)).replace("NOBODY", address) for text in mistakes[name]
            )
            overrides, variables = arguments_of(given, folder)
            if name in table["OVERRIDES"]:  # about the override as it stands
                overrides = [overrides[0], *shlex.split(given)]
            told = {command: tell(command, overrides, variables, said) for command in PREFIXES}
        lines = {each.line for each in told.values()}
        alike = len(lines) == 1 and None not in lines
        num_unlike += not alike
        for command, each in told.items():
            took[command].append(each)
        figures = "".join(f"{each.seconds:>8.2f}s{each.cpu_s:>6.2f}s" for each in told.values())
        print(f"{name:<24}{figures}  {'yes' if alike else f'NO: {lines}'}", flush=True)
    for command, each in took.items():
        seconds, cpu_s = [one.seconds for one in each], [one.cpu_s for one in each]
        late = sum(one > LIMIT_S for one in seconds)
        print(
            f"{command}: {len(each)} mistakes, median {statistics.median(seconds):.2f} s (CPU "
            f"{statistics.median(cpu_s):.2f} s), worst {max(seconds):.2f} s (CPU {max(cpu_s):.2f} s), "
            f"{late} later than {LIMIT_S:.0f} s"
        )
    return 1 if num_unlike else 0


if __name__ == "__main__":
    sys.exit(main())
