"""Whether a folder can be written to, found out by writing to it.

A full disk shows itself in many ways: torch's writer says `basic_ios::clear: iostream error`, and Ray hands
that on. So what a failed run tells of is what the operating system says to a plain write.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

PROBE_BYTES = 1 << 20
"""More than is left over when a write fails because the disk is full: it fills it to the last block first."""


def check_writable(folder: Path) -> None:
    """Write `PROBE_BYTES` into `folder` and take them away again.

    Raises:
        OSError: The folder is missing, may not be written to, or its disk is full or over quota.
    """
    with tempfile.TemporaryFile(dir=folder) as file:
        file.write(bytes(PROBE_BYTES))
        file.flush()
        os.fsync(file.fileno())  # network file systems find out as late as this
