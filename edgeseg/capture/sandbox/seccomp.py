"""A filter of system calls, by libseccomp: what is not on the list does not exist for this process.

libseccomp knows each architecture's numbers; systemd and apt depend on it, so that it is there on Debian and
its kin. Bound by ctypes: its package on PyPI is not kept any more (decision 14).
"""

from __future__ import annotations

import ctypes
import errno
import os
import socket
from collections.abc import Collection, Iterator, Sequence

_ALLOW = 0x7FFF0000
# Not EPERM: the C library falls back to an older call only from ENOSYS.
_DENY = 0x00050000 | errno.ENOSYS
_NO_SUCH_CALL = -1
_EQ, _MASKED_EQ = 4, 7

_FILES = """read readv write writev pread64 preadv close close_range fstat fstatfs newfstatat stat lstat statx
    lseek open openat getdents64 readlink readlinkat access faccessat faccessat2 fcntl ftruncate dup dup2 dup3
    pipe2 poll ppoll select pselect6 epoll_create1 epoll_ctl epoll_wait epoll_pwait eventfd2 getcwd
    fadvise64"""
_MEMORY = "brk mmap munmap mprotect mremap madvise memfd_create membarrier"
_THREADS = """futex set_robust_list rseq sched_yield sched_getaffinity sched_getparam sched_getscheduler
    sched_get_priority_max sched_get_priority_min gettid getpid getppid exit exit_group rt_sigaction
    rt_sigprocmask rt_sigreturn rt_sigtimedwait sigaltstack restart_syscall"""
_TIME = "clock_gettime clock_getres gettimeofday time nanosleep clock_nanosleep"
_ABOUT = "getrandom uname sysinfo getrusage getuid geteuid getgid getegid getrlimit"
_NETWORK = """connect bind sendto recvfrom sendmsg recvmsg sendmmsg recvmmsg getsockname getpeername
    getsockopt setsockopt shutdown"""

_CLONE_THREAD = 0x00010000
# FIONBIO, FIONREAD, FIOCLEX, FIONCLEX, TCGETS: nothing that types into a terminal.
_IOCTLS = (0x5421, 0x541B, 0x5451, 0x5450, 0x5401)


class Comparison(ctypes.Structure):
    """libseccomp's ``struct scmp_arg_cmp``: argument number, operation, and the values that it takes."""

    _fields_ = (
        ("argument", ctypes.c_uint),
        ("operation", ctypes.c_int),
        ("a", ctypes.c_uint64),
        ("b", ctypes.c_uint64),
    )


def available() -> bool:
    """Whether there is libseccomp here, and a kernel that filters."""
    seccomp_of_this_thread = ctypes.CDLL(None).prctl(21, 0, 0, 0, 0)  # PR_GET_SECCOMP
    return _library() is not None and int(seccomp_of_this_thread) >= 0


def allow_only_decoding(families: Collection[socket.AddressFamily], *, devices: bool) -> None:
    """From now on this thread, and all that come from it, can read, write, connect and have threads.

    No program is started and no process, none is signalled or looked into. families: of new sockets.
    devices: every ioctl, which drivers need. Raises OSError where that cannot be had.
    """
    library = _library()
    if library is None:
        raise OSError(errno.ENOSYS, "no libseccomp")
    filter_ = _Filter(library)
    try:
        for name, conditions in rules(families, devices=devices):
            filter_.allow(name, conditions)
        filter_.load()
    finally:
        filter_.release()


def rules(
    families: Collection[socket.AddressFamily], *, devices: bool
) -> Iterator[tuple[str, tuple[Comparison, ...]]]:
    """The system calls that the filter allows, each with the conditions that its arguments must meet.

    A name that comes twice is allowed where either rule's conditions all hold.
    """
    for name in " ".join((_FILES, _MEMORY, _THREADS, _TIME, _ABOUT, _NETWORK)).split():
        yield name, ()
    yield "clone", (Comparison(0, _MASKED_EQ, _CLONE_THREAD, _CLONE_THREAD),)
    # abort() signals itself.
    yield "tgkill", (Comparison(0, _EQ, os.getpid(), 0),)
    # Reading its own limits; with a process id it would change the daemon's.
    yield "prlimit64", (Comparison(0, _EQ, 0, 0), Comparison(2, _EQ, 0, 0))
    for family in families:
        yield "socket", (Comparison(0, _EQ, family, 0),)
    if devices:
        yield "ioctl", ()
    for request in _IOCTLS:
        yield "ioctl", (Comparison(1, _EQ, request, 0),)


class _Filter:
    def __init__(self, library: ctypes.CDLL) -> None:
        self._library = library
        self._context = ctypes.c_void_p(library.seccomp_init(ctypes.c_uint32(_DENY)))

    def allow(self, name: str, conditions: Sequence[Comparison]) -> None:
        number = self._library.seccomp_syscall_resolve_name(name.encode())
        if number == _NO_SUCH_CALL:
            return
        array = (Comparison * len(conditions))(*conditions)
        self._check(
            self._library.seccomp_rule_add_array(
                self._context, ctypes.c_uint32(_ALLOW), number, len(conditions), array
            )
        )

    def load(self) -> None:
        self._check(self._library.seccomp_load(self._context))

    def release(self) -> None:
        self._library.seccomp_release(self._context)

    def _check(self, answer: int) -> None:
        # Some architectures never had some of the calls.
        if answer < 0 and answer != -errno.EDOM:
            raise OSError(-answer, f"system call filter: {os.strerror(-answer)}")


def _library() -> ctypes.CDLL | None:
    try:
        library = ctypes.CDLL("libseccomp.so.2")
    except OSError:
        return None
    library.seccomp_init.restype = ctypes.c_void_p
    library.seccomp_release.restype = None
    return library
