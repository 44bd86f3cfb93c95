"""Attacks on what is outside: files, secrets, the network, other processes. None gets there.

Run: pytest tests/tasks/sandbox/test_attacks_on_the_host.py
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tasks.sandbox import Call, CallStatus

RAISED, VIOLATION, TIMEOUT, OK = CallStatus.RAISED, CallStatus.VIOLATION, CallStatus.TIMEOUT, CallStatus.OK
Strike = Callable[..., Call]

FILES = {
    "read_passwd": "def f(x): return open('/etc/passwd').read()",
    "read_canary": "def f(x): return open('CANARY').read()",
    "read_canary_by_descriptor": "def f(x): os = find('os'); return os.read(os.open('CANARY', 0), 99)",
    "create_file": "def f(x): return open('DROP/a', 'w').write('x')",
    "create_file_by_descriptor": "def f(x): os = find('os'); return os.open('DROP/a', os.O_CREAT | "
    "os.O_WRONLY)",
    "create_temporary_file": "def f(x): os = find('os'); return os.open('DROP', os.O_TMPFILE | os.O_RDWR)",
    "overwrite_canary": "def f(x): return open('CANARY', 'r+').write('x')",
    "truncate_canary": "def f(x): return find('os').truncate('CANARY', 0)",
    "delete_canary": "def f(x): return find('os').unlink('CANARY')",
    "rename_canary": "def f(x): return find('os').rename('CANARY', 'DROP/b')",
    "link_canary": "def f(x): return find('os').link('CANARY', 'DROP/b')",
    "make_folder": "def f(x): return find('os').mkdir('DROP/d')",
    "make_symlink": "def f(x): return find('os').symlink('/etc', 'DROP/s')",
    "make_fifo": "def f(x): return find('os').mkfifo('DROP/p')",
    "list_root": "def f(x): return find('os').listdir('/')",
    "read_own_environment": "def f(x): return open('/proc/self/environ').read()",
    "read_own_memory_map": "def f(x): return open('/proc/self/maps').read()",
    "read_environment_of_host": "def f(x): return open('/proc/HOST/environ').read()",
    "anonymous_file": "def f(x): return find('os').memfd_create('azr-attack')",
    "shared_memory": "def f(x): return open('/dev/shm/azr-attack', 'w').write('x')",
    "import_a_file": "def f(x):\n sys.path.insert(0, '/tmp')\n import canary_module\n return 1",
    "code_from_a_file": "def f(x): return exec(open('CANARY').read())",
    "change_owner": "def f(x): return find('os').chown('CANARY', 0, 0)",
    "ioctl_on_terminal": "def f(x): return find('os').get_terminal_size(3)",
    "urandom_device": "def f(x): return open('/dev/urandom', 'rb').read(4)",
}  # fmt: skip


@pytest.mark.parametrize("source", FILES.values(), ids=FILES.keys())
def test_no_file_is_touched(strike: Strike, source: str) -> None:
    strike(source, RAISED)


ADVISE = (
    "def f(x):\n ctypes = find('ctypes'); page = ctypes.c_void_p(id([x]) & ~4095)\n"
    " return libc().madvise(page, ctypes.c_size_t(4096), ADVICE)"
)

PROBES = {
    # They return what they got; what is right is "nothing".
    "environment": ("def f(x): return dict(find('os').environ)", "{}"),
    "open_by_libc": ("def f(x): return libc().open(b'/etc/passwd', 0)", "-1"),
    "open_by_number": ("def f(x): return libc().syscall(257, -100, b'/etc/passwd', 0)", "-1"),
    "setuid_root": ("def f(x): return libc().setuid(0)", "-1"),
    "drop_filter": ("def f(x): return libc().prctl(22, 0, 0, 0, 0)", "-1"),
    "become_dumpable": ("def f(x): return libc().prctl(4, 1, 0, 0, 0)", "-1"),
    "return_from_a_signal": ("def f(x): return libc().syscall(15)", "-1"),
    "restart_a_call": ("def f(x): return libc().syscall(219)", "-1"),
    "wake_another_slot": ("def f(x): return libc().syscall(202, id(None), 1, 1, 0, 0, 0)", "-1"),
    "wait_for_another_slot": ("def f(x): return libc().syscall(202, id(None), 0, 0, 0, 0, 0)", "-1"),
    "advise_nothing_special": (ADVISE.replace("ADVICE", "0"), "0"),
    "advise_to_merge_pages": (ADVISE.replace("ADVICE", "12"), "-1"),
    "advise_to_swap": (ADVISE.replace("ADVICE", "21"), "-1"),
    "advise_huge_pages": (ADVISE.replace("ADVICE", "14"), "-1"),
    "fork_by_libc": ("def f(x): return libc().fork()", "-1"),
    "shell": ("def f(x): return find('os').system('touch DROP/x') != 0", "True"),
    "inherited_descriptors": (
        "def f(x):\n os = find('os'); got = []\n"
        " for fd in [0, *range(3, 256)]:\n"
        "  try: got.append(os.read(fd, 99))\n"
        "  except OSError: pass\n"
        " return [item for item in got if item]",
        "[]",
    ),
    "junk_to_all_descriptors": (
        "def f(x):\n os = find('os')\n"
        " for fd in range(256):\n"
        "  try: os.write(fd, b'junk\\n')\n"
        "  except OSError: pass\n"
        " return 8",
        "8",
    ),
}


@pytest.mark.parametrize(("source", "literal"), PROBES.values(), ids=PROBES.keys())
def test_a_probe_finds_nothing(strike: Strike, source: str, literal: str) -> None:
    strike(source, OK, literal=literal)


NETWORK = {
    "tcp_connect": "def f(x): return find('_socket').socket(2, 1).connect(('127.0.0.1', PORT))",
    "tcp_listen": "def f(x): s = find('_socket').socket(2, 1); s.bind(('127.0.0.1', 0)); s.listen()",
    "udp": "def f(x): return find('_socket').socket(2, 2).sendto(b'x', ('127.0.0.1', PORT))",
    "abstract_unix": "def f(x): return find('_socket').socket(1, 1).connect('\\0azr-attack-HOST')",
    "netlink": "def f(x): return find('_socket').socket(16, 3, 0)",
    "socketpair": "def f(x): return find('_socket').socketpair()",
    "socket_by_number": "def f(x): return libc().syscall(41, 2, 1, 0)",
    "socket_by_x32_number": "def f(x): return libc().syscall(0x40000000 | 41, 2, 1, 0)",
    "io_uring": "def f(x): return libc().syscall(425, 8, 0)",
    "bpf": "def f(x): return libc().syscall(321, 0, 0, 0)",
    "userfaultfd": "def f(x): return libc().syscall(323, 0)",
    "new_namespace": "def f(x): return libc().unshare(0x10000000)",
    "chroot": "def f(x): return find('os').chroot('/')",
    "mount": "def f(x): return libc().mount(b'none', b'/tmp', b'tmpfs', 0, 0)",
}
PROCESSES = {
    "exec_shell": "def f(x): return find('os').execv('/bin/sh', ['sh', '-c', 'touch DROP/x'])",
    "kill_host": "def f(x): return find('os').kill(HOST, 10)",
    "kill_victim": "def f(x): return find('os').kill(VICTIM, 9)",
    "kill_parent": "def f(x): os = find('os'); return os.kill(os.getppid(), 9)",
    "kill_all": "def f(x): return find('os').kill(-1, 9)",
    "kill_group": "def f(x): return libc().kill(0, 9)",
    "queue_signal": "def f(x): return libc().sigqueue(HOST, 10, 0)",
    "signal_self_as_if_setup_failed": "def f(x): os = find('os'); return os.kill(os.getpid(), 10)",
    "stop_self": "def f(x): os = find('os'); return os.kill(os.getpid(), 19)",
    "abort": "def f(x): return find('os').abort()",
    "trace_host": "def f(x): return libc().ptrace(16, HOST, 0, 0)",
    "read_memory_of_host": "def f(x): return libc().process_vm_readv(HOST, 0, 0, 0, 0, 0)",
    "kernel_keys": "def f(x): return libc().syscall(250, 0, -3, 0)",
}


@pytest.mark.parametrize("source", [*NETWORK.values(), *PROCESSES.values()], ids=[*NETWORK, *PROCESSES])
def test_a_forbidden_call_is_a_violation(strike: Strike, source: str) -> None:
    strike(source, VIOLATION)


REFUSED = {
    "fork": "def f(x): return find('os').fork()",
    "subprocess": "def f(x): return __import__('subprocess').run(['touch', 'DROP/x'])",
    "thread": "def f(x): return __import__('_thread').start_new_thread(f, (x,))",
    "daemon": "def f(x): return find('os').setsid()",
    "priority": "def f(x): return find('os').setpriority(0, 0, -5)",
    "affinity": "def f(x): return find('os').sched_setaffinity(0, {0})",
    "wait_for_others": "def f(x): return find('os').waitpid(-1, 0)",
    "cpu_time_of_host": "def f(x): return __import__('time').clock_gettime(~HOST << 3 | 2)",
    "cpu_time_of_victim": "def f(x): return __import__('time').clock_gettime(~VICTIM << 3 | 2)",
    "cpu_time_of_a_thread": "def f(x): return __import__('time').clock_gettime(~HOST << 3 | 6)",
    "raise_limit": "def f(x): return __import__('resource').setrlimit(9, (-1, -1))",
    "pass_descriptor": "def f(x):\n s = find('_socket')\n"
    " return s.socket(-1, -1, -1, 3).sendmsg([b'x'], [(s.SOL_SOCKET, s.SCM_RIGHTS, b'\\0\\0\\0\\0')])",
    "executable_memory": "def f(x):\n m = find('mmap')\n return len(m.mmap(-1, 4096, prot=7))",
}  # fmt: skip


@pytest.mark.parametrize("source", REFUSED.values(), ids=REFUSED.keys())
def test_other_calls_are_refused(strike: Strike, source: str) -> None:
    strike(source, RAISED)


TIMERS = {
    "fork_bomb": "while True:\n  try: os.fork()\n  except OSError: pass",
    "thread_bomb": "t = __import__('_thread')\n while True:\n  try: t.start_new_thread(f, (x,))\n"
    "  except RuntimeError: pass",
    "ignore_timer": "try: find('_signal').signal(27, 1)\n except (OSError, ImportError): pass\n"
    " while True: pass",
    "disarm_timer": "try: find('_signal').setitimer(2, 0)\n except (OSError, ImportError): pass\n"
    " while True: pass",
    "disarm_by_libc": "libc().setitimer(2, b'\\0' * 32, 0)\n while True: pass",
    "block_timer": "libc().sigprocmask(0, b'\\xff' * 128, 0)\n while True: pass",
    "own_handler": "libc().signal(27, 1)\n while True: pass",
    "return_from_a_signal": "libc().syscall(15)\n while True: pass",
}


@pytest.mark.parametrize("body", TIMERS.values(), ids=TIMERS.keys())
def test_no_program_outlives_its_cpu_time(strike: Strike, body: str) -> None:
    call = strike(f"def f(x):\n os = find('os')\n {body}", TIMEOUT)
    assert call.status is not TIMEOUT or call.cpu_ms >= 250
    assert call.cpu_ms <= 800
