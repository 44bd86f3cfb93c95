"""A full disk: what the operating system says of it, and what a run says that it ended."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from recipe.run import disk

ROOT = Path(__file__).parents[3]

FULL_DISK = """
import os, sys
from pathlib import Path
from recipe.run.disk import check_writable
folder = Path(sys.argv[1])
check_writable(folder)
print(os.listdir(folder))
with (folder / "weights").open("wb", buffering=0) as file:
    try:
        while file.write(bytes(1 << 16)):
            pass
    except OSError:
        pass
try:
    check_writable(folder)
except OSError as error:
    print(error.errno, os.listdir(folder))
"""


def on_a_small_disk(folder: Path, megabytes: int, *command: str) -> subprocess.CompletedProcess[str]:
    """Run a command that finds a file system of this size at `folder`: a mount that only it sees."""
    mount = f'mount -t tmpfs -o size={megabytes}m tmpfs "$0" && exec "$@"'
    found = subprocess.run(
        ["unshare", "-Urm", "sh", "-c", mount, str(folder), *command],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    if found.returncode and ("unshare:" in found.stderr or "mount:" in found.stderr):
        pytest.skip(f"needs user namespaces with mounts: {found.stderr.strip()}")
    return found


def test_full_disk_is_told_and_an_empty_one_is_left_as_it_was(tmp_path: Path) -> None:
    done = on_a_small_disk(tmp_path, 3, sys.executable, "-c", FULL_DISK, str(tmp_path))
    assert done.stdout.splitlines() == ["[]", f"{errno.ENOSPC} ['weights']"], done.stderr


def test_disk_that_is_found_full_on_the_way_down_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="quota"):
        disk.check_writable(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_missing_folder_is_told(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        disk.check_writable(tmp_path / "missing")


# Its last checkpoint does not fit: a worker fails with what torch says of it. The log is on the same disk.
RUN_THAT_FILLS_ITS_DISK = """
from pathlib import Path
from recipe.run import checkpoint
from recipe import main_azr

def run(config):
    folder = Path(config.trainer.default_local_dir)
    (folder / "global_step_10" / "actor").mkdir(parents=True)
    manifest = checkpoint.Manifest(checkpoint.FORMAT, "arithmetic", 10, "", 0, 0)
    checkpoint.write_manifest(folder / "global_step_10", manifest)
    half_written = folder / "global_step_20" / "actor" / "model_world_size_1_rank_0.pt"
    half_written.parent.mkdir(parents=True)
    try:
        half_written.write_bytes(bytes(1 << 24))
    except OSError:
        print("what the engines print " * 300)
        raise RuntimeError("basic_ios::clear: iostream error") from None

main_azr._run = run
main_azr.command_line()
"""


@pytest.mark.slow
def test_run_that_fills_its_disk_says_what_to_do_and_where_it_goes_on(tmp_path: Path) -> None:
    done = on_a_small_disk(
        tmp_path,
        8,
        *(sys.executable, "-c", RUN_THAT_FILLS_ITS_DISK, "experiment=demo"),
        *(f"run.dir={tmp_path}", "actor_rollout_ref.model.path=somebody/a-model"),
    )
    assert done.returncode == 1, done.stderr
    printed = done.stdout + done.stderr
    assert (
        f"\nerror: {tmp_path} cannot be written to: No space left on device. Make room or mend it, and "
        in printed
    )
    assert "it goes on from step 10.\n" in printed
    # Nothing of what the log had no room for: neither the traceback nor the engines' output.
    assert "Traceback" not in printed
    assert "what the engines print" not in printed
