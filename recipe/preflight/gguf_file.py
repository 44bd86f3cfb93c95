"""A model in one GGUF file, as llama.cpp's tools write it, looked at by the file's header alone.

The format is that of ggml's docs/gguf.md. The package `gguf` has a reader too, which makes an array of every
word of a vocabulary: seconds, where walking over them takes a tenth of one. What can be read is what that
package and transformers read (5.10, `modeling_gguf_pytorch_utils.py`).
"""

from __future__ import annotations

import importlib.util
import mmap
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from math import prod
from pathlib import Path
from typing import Any

from recipe.preflight import PreflightError

MAGIC = b"GGUF"
STRING, ARRAY = 8, 9
SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
"""By the number that a header has for a type, as `struct` spells it."""

ARCHITECTURES = ("llama", "qwen2", "qwen3", "stablelm")
"""Those that are read here, by the names that llama.cpp and transformers have for them: dense decoders whose
vocabularies have their merges with them, as a rule."""

MOST_WITHOUT_MERGES = 65_536
"""Words whose merges transformers works out: minutes for 32,000, and it grows with the square."""

NAMES = {
    "embedding_length": "hidden_size",
    "feed_forward_length": "intermediate_size",
    "block_count": "num_hidden_layers",
    "attention.head_count": "num_attention_heads",
    "attention.head_count_kv": "num_key_value_heads",
    "context_length": "max_position_embeddings",
    "vocab_size": "vocab_size",
}
"""Sizes by their keys in a header, behind the architecture, with those of config.json."""

INSTEAD = "give the model's own directory, of safetensors"

VOCABULARY, MERGES = "tokenizer.ggml.tokens", "tokenizer.ggml.merges"
CONTROL = 3  # the type of its words that are no text
SPECIAL_TOKENS = {
    "bos_token": "bos_token_id",
    "eos_token": "eos_token_id",
    "unk_token": "unknown_token_id",
    "pad_token": "padding_token_id",
}


@dataclass(frozen=True, slots=True)
class Tensor:
    """A weight as it is announced."""

    shape: tuple[int, ...]
    kind: int  # how its numbers are stored
    offset: int  # bytes behind the first weight's beginning


@dataclass(frozen=True, slots=True)
class Header:
    """What stands before the weights."""

    values: Mapping[str, Any]
    tensors: Mapping[str, Tensor]
    size: int  # its bytes

    def size_of(self, key: str) -> Any:
        """A value that stands behind the architecture's name."""
        return self.values.get(f"{self.values.get('general.architecture')}.{key}")


def find_gguf(path: str | None) -> Path | None:
    """The GGUF file that a model's path names, or that is in a directory without config.json; None without.

    Raises:
        PreflightError: A directory holds several.
    """
    given = Path(path or "").expanduser()
    if given.suffix == ".gguf" and given.is_file():
        return given
    if path is None or not given.is_dir() or (given / "config.json").exists():
        return None
    if len(found := sorted(given.glob("*.gguf"))) > 1:
        names = ", ".join(file.name for file in found)
        raise PreflightError(f"actor_rollout_ref.model.path must name one GGUF file; {given} holds {names}")
    return found[0] if found else None


def read_header(file: Path) -> Header:
    """The header of a GGUF file.

    Raises:
        PreflightError: It has none, or not all of it.
    """
    with file.open("rb") as opened:
        start = opened.read(len(MAGIC))
        if start != MAGIC:
            remedy = "fetch it again, or run `git lfs pull` where Git LFS left a pointer in its place"
            raise PreflightError(f"{file} must be a GGUF file, and does not begin as one; {remedy}")
        with mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as data:
            try:
                return _Reader(data).header()
            except (struct.error, KeyError) as error:
                raise PreflightError(f"{file} is damaged or cut short; fetch the model again") from error


class _Reader:
    """Goes through a header; `struct.error` where the file ends first, `KeyError` for a type that is none."""

    def __init__(self, data: mmap.mmap) -> None:
        self.data, self.at = data, len(MAGIC)

    def header(self) -> Header:
        self.number("I")  # the version; 1, of summer 2023, has other lengths and ends as damaged
        num_tensors, num_values = self.number("Q"), self.number("Q")
        values = {self.text(): self.value(self.number("I")) for _ in range(num_values)}
        tensors = {}
        for _ in range(num_tensors):
            name, num_axes = self.text(), self.number("I")
            shape = tuple(self.number("Q") for _ in range(num_axes))
            tensors[name] = Tensor(shape, self.number("I"), self.number("Q"))
        return Header(values, tensors, self.at)

    def skip(self, size: int) -> int:
        """Go on by so many bytes; where they began."""
        start, self.at = self.at, self.at + size
        if self.at > len(self.data):
            raise struct.error("the file ends here")
        return start

    def number(self, code: str) -> Any:
        return struct.unpack_from(f"<{code}", self.data, self.skip(struct.calcsize(f"<{code}")))[0]

    def text(self) -> str:
        start = self.skip(self.number("Q"))
        return self.data[start : self.at].decode(errors="replace")

    def value(self, kind: int) -> Any:
        if kind == STRING:
            return self.text()
        if kind != ARRAY:
            return self.number(SCALARS[kind])
        of, length = self.number("I"), self.number("Q")
        if of == STRING:
            return tuple(self.text() for _ in range(length))
        code = f"<{length}{SCALARS[of]}"
        return struct.unpack_from(code, self.data, self.skip(struct.calcsize(code)))


def config_of(header: Header) -> dict[str, Any]:
    """What transformers makes of a header for config.json, of sizes and tying."""
    sizes = {name: header.size_of(key) for key, name in NAMES.items()}
    sizes["vocab_size"] = sizes["vocab_size"] or len(header.values.get(VOCABULARY, ()))
    architecture = header.values.get("general.architecture")
    if architecture == "llama":  # of others transformers leaves the size of a head to the model type
        sizes["head_dim"] = header.size_of("rope.dimension_count")
    known = {name: size for name, size in sizes.items() if size is not None}
    return {"model_type": architecture, "tie_word_embeddings": "output.weight" not in header.tensors, **known}


def load_tokenizer(file: Path) -> Any:
    """The tokenizer in a GGUF file, with the special tokens that the file names.

    By itself transformers takes the token that begins a text for the one that ends it (llama), or names that
    it knows of the family (qwen2), and of the other control tokens some for text.
    """
    from transformers import AutoTokenizer

    tokenizer, header = AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name), read_header(file)
    words, kinds = header.values[VOCABULARY], header.values.get("tokenizer.ggml.token_type", ())
    control = [word for word, kind in zip(words, kinds, strict=False) if kind == CONTROL]
    tokenizer.add_special_tokens({"extra_special_tokens": control})
    for name, key in SPECIAL_TOKENS.items():
        if (token := header.values.get(f"tokenizer.ggml.{key}")) is not None:
            setattr(tokenizer, name, words[token])
    return tokenizer


def faults_of(file: Path) -> Iterator[str]:
    """What keeps a GGUF file from being made a model of transformers.

    Raises:
        PreflightError: It has no whole header.
    """
    header, has_package = read_header(file), importlib.util.find_spec("gguf") is not None
    if not has_package:
        yield f"{file} is read with the package gguf, which is not installed: pip install 'azr-verl[gguf]'"
    if (architecture := header.values.get("general.architecture")) not in ARCHITECTURES:
        yield f"{file} must be of one of the architectures {', '.join(ARCHITECTURES)}; got {architecture}"
    if (parts := header.values.get("split.count", 1)) > 1:
        yield f"{file} is one of {parts} parts; put them together (`llama-gguf-split --merge`)"
        return
    if VOCABULARY not in header.values:
        yield f"{file} must hold a vocabulary, and has none; fetch one with weights and vocabulary"
    elif MERGES not in header.values and (words := len(header.values[VOCABULARY])) > MOST_WITHOUT_MERGES:
        yield f"{file} has no merges for {words} words, which transformers would work out in hours; {INSTEAD}"
    scaling = header.size_of("rope.scaling.type")
    if "rope_freqs.weight" in header.tensors or scaling not in (None, "none"):
        yield f"{file} has scaled rotary frequencies, which transformers does not read from it; {INSTEAD}"
    if has_package:
        yield from _weights(file, header)


def _weights(file: Path, header: Header) -> Iterator[str]:
    """Weights that are stored in a way that nobody reads, or are not there."""
    from gguf import GGML_QUANT_SIZES, GGMLQuantizationType

    for name, tensor in header.tensors.items():
        if not _is_readable(tensor.kind):
            known = tensor.kind in GGML_QUANT_SIZES
            kind = GGMLQuantizationType(tensor.kind).name if known else f"type {tensor.kind}"
            yield f"{file} has {name} as {kind}, which the package gguf cannot read; {INSTEAD}"
            return
    alignment = header.values.get("general.alignment", 32)
    first = -(-header.size // alignment) * alignment
    needed = first
    for tensor in header.tensors.values():
        numbers, size = GGML_QUANT_SIZES[GGMLQuantizationType(tensor.kind)]  # of a block
        needed = max(needed, first + tensor.offset + prod(tensor.shape) // numbers * size)
    if (there := file.stat().st_size) < needed:
        yield f"{file} is cut short: {there} of {needed} bytes; fetch the model again"


@cache
def _is_readable(kind: int) -> bool:
    """Whether the package `gguf` turns numbers of this kind into plain ones, tried on a block of zeros."""
    import numpy
    from gguf import GGML_QUANT_SIZES, GGMLQuantizationType, dequantize

    if kind not in GGML_QUANT_SIZES:
        return False
    block = numpy.zeros((1, GGML_QUANT_SIZES[GGMLQuantizationType(kind)][1]), numpy.uint8)
    try:
        dequantize(block, GGMLQuantizationType(kind))
    except NotImplementedError:
        return False
    return True
