"""The model of a GGUF file as a Hugging Face directory, which the rest of the run reads: made once a run."""

from __future__ import annotations

import hashlib
from pathlib import Path

from recipe.preflight.gguf_file import load_tokenizer
from recipe.run.model_folder import written_aside


def ensure_converted(file: Path, run_dir: Path) -> Path:
    """Return the directory in `run_dir` that the file was made into, making it first if it is not there.

    It stays while the file has its name, size and time: a resumed run finds it, as do other nodes.

    Raises:
        ValueError: The file lacks weights.
    """
    status = file.stat()
    digest = hashlib.sha256(f"{file.name} {status.st_size} {status.st_mtime_ns}".encode()).hexdigest()
    path = run_dir / f"base_model-{digest[:16]}"
    if not path.is_dir():
        with written_aside(path) as aside:
            convert(file, aside)
    return path


def convert(file: Path, folder: Path) -> None:
    """Write the model of a GGUF file to `folder`, in fp32, with its tokenizer.

    Raises:
        ValueError: The file lacks weights.
    """
    import torch
    from transformers import AutoModelForCausalLM

    model, report = AutoModelForCausalLM.from_pretrained(
        file.parent, gguf_file=file.name, dtype=torch.float32, output_loading_info=True
    )
    if missing := sorted(report["missing_keys"]):  # transformers would go on with random numbers
        raise ValueError(f"{file} must hold all weights of its model; it lacks {', '.join(missing[:3])}")
    model.save_pretrained(folder)
    load_tokenizer(file).save_pretrained(folder)
