"""Build the images of the backend "wasm" at first use, and find them again.

An image is CPython as a WebAssembly component, made by componentize-py, compiled for this kind of machine by
wasmtime. There are two of them. Each build draws a hash seed, a random state and addresses of its own, so a
result that depends on one of these differs between the two images as it does between two processes.
"""

from __future__ import annotations

import fcntl
import hashlib
import importlib.metadata
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from tasks.sandbox.calls import last_line
from tasks.sandbox.contract import SandboxUnavailable

NUM_IMAGES = 2
PACKAGES = ("componentize-py", "wasmtime")
GUEST = Path(__file__).resolve().parent / "guest"
APPLICATION = "component"
LIBRARY = ("__init__.py", "addresses.py", "harness.py", "modules.py")
"""What the application imports of its own package."""

BUILD_S = 900.0

INTERFACE = """\
package azr:sandbox;

world program {
  import emit: func(line: string);
  export run: func(request: string);
}
"""
"""All that a component can do to the outside is call `emit`."""

WORKER_COMMAND = (sys.executable, "-s", "-S", "-P", "-B")
"""Start of a command line for the processes of this backend: this interpreter, and no user's settings."""

_COMPONENTIZE = "import componentize_py; componentize_py.script()"
_COMPILE = "import sys; from tasks.sandbox.wasm_worker import compile_image; compile_image(*sys.argv[1:])"


def ensure_images() -> list[Path]:
    """Return the two images, building them first if the cache does not hold them; that takes about a minute.

    They are written aside and renamed into place, so what is there is whole. One process builds at a time;
    who comes second waits and then finds the images.

    Raises:
        SandboxUnavailable: A package is missing, the build fails, or the folder cannot be written.
    """
    try:
        folder = cache_dir() / image_key()
        if not folder.is_dir():
            folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            # The kernel gives the lock back when its holder dies.
            with open(folder.with_suffix(".lock"), "w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                if not folder.is_dir():
                    _build(folder)
    except (OSError, subprocess.SubprocessError) as error:
        said = last_line(error.stderr) if isinstance(error, subprocess.CalledProcessError) else ""
        raise SandboxUnavailable(
            f"the image of sandbox.backend=wasm cannot be built: {said or error}"
        ) from error
    return _images(folder)


def cache_dir() -> Path:
    """The user's cache folder for images: `$XDG_CACHE_HOME/azr-verl/wasm`, below `~/.cache` by default."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser()) / "azr-verl" / "wasm"


def image_key() -> str:
    """Name all that decides what an image is, in 16 digits; SandboxUnavailable if a package is missing."""
    try:
        versions = {name: importlib.metadata.version(name) for name in PACKAGES}
    except importlib.metadata.PackageNotFoundError as error:
        raise SandboxUnavailable(
            f"sandbox.backend=wasm needs the package {error.name}: pip install 'azr-verl[wasm]'"
        ) from error
    key = {
        "versions": versions,
        "machine": [sys.platform, platform.machine()],
        "interface": INTERFACE,
        "guest": {
            name: (GUEST / name).read_text(encoding="utf-8") for name in (f"{APPLICATION}.py", *LIBRARY)
        },
    }
    return hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:16]


def worker_environment() -> dict[str, str]:
    """The whole environment of this backend's processes: what this process can import, they can import."""
    return {"PYTHONPATH": os.pathsep.join(os.path.abspath(path) for path in sys.path)}


def _images(folder: Path) -> list[Path]:
    return [folder / f"{number}.cwasm" for number in range(NUM_IMAGES)]


def _build(folder: Path) -> None:
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as name:
        aside = Path(name)
        sources = aside / "sources"
        # Without the `__init__` files of `tasks` and `tasks.sandbox`, which would bring in the trusted side.
        package = sources / GUEST.relative_to(GUEST.parents[2])
        package.mkdir(parents=True)
        for file in LIBRARY:
            shutil.copy(GUEST / file, package)
        # At the top: hidden with its package, it would not be found when its import ends.
        shutil.copy(GUEST / f"{APPLICATION}.py", sources)
        (aside / "program.wit").write_text(INTERFACE, encoding="utf-8")
        built = aside / "images"
        built.mkdir()
        with ThreadPoolExecutor(NUM_IMAGES) as threads:
            list(threads.map(partial(_build_image, aside), _images(built)))
        built.rename(folder)


def _build_image(aside: Path, image: Path) -> None:
    component, own = aside / f"{image.stem}.wasm", aside / f"sources-{image.stem}"
    own.mkdir()
    (own / "image.py").write_text(f"NUMBER = {image.stem}\n", encoding="utf-8")
    interface = ["--wit-path", "program.wit", "--world", "program"]
    paths = ["--python-path", "sources", "--python-path", own.name]
    source = ["--stub-wasi", *paths, APPLICATION, "--output", str(component)]
    _run_step(aside, [_COMPONENTIZE, "--quiet", *interface, "componentize", *source])
    _run_step(aside, [_COMPILE, str(component), str(image)])


def _run_step(folder: Path, arguments: list[str]) -> None:
    # componentize-py adds the site-packages of the `python` on PATH; nothing of them belongs in an image.
    environment = {**worker_environment(), "PATH": os.devnull}
    subprocess.run(
        [*WORKER_COMMAND, "-c", *arguments],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        timeout=BUILD_S,
        check=True,
    )
