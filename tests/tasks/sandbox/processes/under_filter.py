"""Become what a container makes of a process, then run a command: python under_filter.py MODE COMMAND...

Modes: `container` (an unprivileged user, no new namespaces, no mounts, no tracing, an old `clone`),
`no_landlock` (as on an old kernel), `no_seccomp` (a profile that refuses further filters), `few_users` (root
of a user namespace that has ten users).
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct
import sys
from pathlib import Path

from tasks.sandbox.guest import confine
from tasks.sandbox.seccomp import ALLOW, ARCHITECTURES, Architecture, assemble, refuse

CLONE_NEWUSER = 0x10000000
PR_SET_SECCOMP = 22
LOAD, JUMP_EQUAL, JUMP_ANY_BIT, RETURN = 0x20, 0x15, 0x45, 0x06
FIRST_ARGUMENT = 16

# By their numbers on x86_64 and on aarch64: calls that the sandbox's own filter has no word for.
OTHERS = {
    "clone": (56, 220), "clone3": (435, 435), "landlock_create_ruleset": (444, 444), "prctl": (157, 167),
    "seccomp": (317, 277),
}  # fmt: skip
COLUMN = list(ARCHITECTURES).index(platform.machine())
KNOWN = ARCHITECTURES[platform.machine()]
NUMBERS = {**KNOWN.numbers, **{name: numbers[COLUMN] for name, numbers in OTHERS.items()}}


def refuse_by_argument(name: str, test: int, value: int, code: int) -> bytes:
    """BPF: fail with `code` if the first argument of a call passes a test; fall through otherwise."""
    return b"".join(
        struct.pack("=HBBI", *instruction)
        for instruction in [
            (LOAD, 0, 0, 0),
            (JUMP_EQUAL, 0, 3, NUMBERS[name]),
            (LOAD, 0, 0, FIRST_ARGUMENT),
            (test, 0, 1, value),
            (RETURN, 0, 0, refuse(code)),
        ]
    )


def build(mode: str) -> bytes:
    """The filter of a mode."""
    if mode == "container":
        before = refuse_by_argument("clone", JUMP_ANY_BIT, CLONE_NEWUSER, errno.EPERM)
        refused = dict.fromkeys(("unshare", "setns", "mount", "ptrace", "pivot_root", "bpf"), refuse())
        refused["clone3"] = refuse(errno.ENOSYS)
    elif mode == "no_landlock":
        before, refused = b"", {"landlock_create_ruleset": refuse(errno.ENOSYS)}
    elif mode == "no_seccomp":
        before = refuse_by_argument("prctl", JUMP_EQUAL, PR_SET_SECCOMP, errno.EINVAL)
        refused = {"seccomp": refuse(errno.EINVAL)}
    else:
        raise SystemExit(f"no mode {mode!r}")
    return before + assemble(Architecture(KNOWN.audit, NUMBERS), refused, ALLOW)


def enter_namespace() -> None:
    """Become root of a user namespace with ten users; only somebody outside can say which those are."""
    ready, set_ready = os.pipe()
    inside = os.getpid()
    if os.fork() == 0:
        os.read(ready, 1)
        for name in ("uid_map", "gid_map"):
            Path(f"/proc/{inside}/{name}").write_text("0 0 10")
        os._exit(0)
    done = ctypes.CDLL(None).unshare(CLONE_NEWUSER)
    os.write(set_ready, b"x")
    _, status = os.wait()
    if done != 0 or status != 0:
        raise SystemExit("no user namespace")


def main() -> None:
    """Confine this process and become the command."""
    mode, *command = sys.argv[1:]
    if mode == "few_users":
        enter_namespace()
        os.execv(command[0], command)
    confine.forbid_new_privileges()
    if mode == "container":
        confine.drop_user()
    confine.SeccompFilter(build(mode)).install()
    os.execv(command[0], command)


if __name__ == "__main__":
    main()
