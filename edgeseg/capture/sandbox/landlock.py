"""Landlock (landlock(7)): a process gives up files and connections for good, without being root.

By ctypes, because no Python package for it is well kept (decision 14). The system call numbers are the
same on every architecture.
"""

from __future__ import annotations

import ctypes
import errno
import os
from collections.abc import Collection, Mapping
from enum import IntFlag
from pathlib import Path

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_VERSION_PLEASE = 1
_PATH_BENEATH, _NET_PORT = 1, 2
_PR_SET_NO_NEW_PRIVS = 38

_BIND_TCP, _CONNECT_TCP = 1 << 0, 1 << 1
_SCOPE_ABSTRACT_SOCKETS, _SCOPE_SIGNALS = 1 << 0, 1 << 1
# How many of the LANDLOCK_ACCESS_FS_* bits each version of the interface knows.
_FS_BITS = {1: 13, 2: 14, 3: 15, 4: 15}
_FS_BITS_NOW = 16


class Access(IntFlag):
    """What may be done to a file, or below a folder: LANDLOCK_ACCESS_FS_* of linux/landlock.h."""

    EXECUTE = 1 << 0
    WRITE_FILE = 1 << 1
    READ_FILE = 1 << 2
    READ_DIR = 1 << 3
    IOCTL_DEV = 1 << 15


_OF_FILES = Access.EXECUTE | Access.WRITE_FILE | Access.READ_FILE | Access.IOCTL_DEV


class _Ruleset(ctypes.Structure):
    _fields_ = (("fs", ctypes.c_uint64), ("net", ctypes.c_uint64), ("scoped", ctypes.c_uint64))


class _PathBeneath(ctypes.Structure):
    _pack_ = 1
    _layout_ = "ms"
    _fields_ = (("allowed", ctypes.c_uint64), ("folder", ctypes.c_int32))


class _NetPort(ctypes.Structure):
    _fields_ = (("allowed", ctypes.c_uint64), ("port", ctypes.c_uint64))


def version() -> int:
    """The kernel's version of the interface, 0 where it has none: 1 files (Linux 5.13), 4 TCP ports (6.7),
    6 signals and abstract sockets (6.12)."""
    answer = ctypes.CDLL(None).syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), _VERSION_PLEASE)
    return max(0, int(answer))


def restrict(files: Mapping[Path, Access], tcp_ports: Collection[int] | None) -> None:
    """From now on this thread, and all that come from it, can reach these files and nothing else.

    files: what is not there is left out. tcp_ports: where it may connect to, None for anywhere; it can
    bind to none. Files that are open stay open. Raises OSError where the kernel has no Landlock.
    """
    now = version()
    handled_fs = (1 << _FS_BITS.get(now, _FS_BITS_NOW)) - 1
    ports = tcp_ports if now >= 4 else None
    attributes = _Ruleset(
        handled_fs,
        (_BIND_TCP | (_CONNECT_TCP if ports is not None else 0)) if now >= 4 else 0,
        _SCOPE_ABSTRACT_SOCKETS | _SCOPE_SIGNALS if now >= 6 else 0,
    )
    size = 24 if now >= 6 else 16 if now >= 4 else 8
    ruleset = _call(_CREATE_RULESET, ctypes.byref(attributes), ctypes.c_size_t(size), 0)
    try:
        for path, access in files.items():
            _allow(ruleset, path, access & handled_fs)
        for port in ports or ():
            rule = _NetPort(_CONNECT_TCP, port)
            _call(_ADD_RULE, ruleset, _NET_PORT, ctypes.byref(rule), 0)
        no_new_privileges()
        _call(_RESTRICT_SELF, ruleset, 0)
    finally:
        os.close(ruleset)


def no_new_privileges() -> None:
    """Set-user-id programs give this process nothing from now on (PR_SET_NO_NEW_PRIVS)."""
    zero = ctypes.c_ulong(0)
    ctypes.CDLL(None).prctl(_PR_SET_NO_NEW_PRIVS, ctypes.c_ulong(1), zero, zero, zero)


def _allow(ruleset: int, path: Path, access: int) -> None:
    try:
        place = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return
    try:
        rights = access if path.is_dir() else access & _OF_FILES
        rule = _PathBeneath(rights, place)
        _call(_ADD_RULE, ruleset, _PATH_BENEATH, ctypes.byref(rule), 0)
    finally:
        os.close(place)


def _call(number: int, *arguments: object) -> int:
    answer = int(ctypes.CDLL(None, use_errno=True).syscall(number, *arguments))
    if answer < 0:
        code = ctypes.get_errno() or errno.ENOSYS
        raise OSError(code, f"Landlock: {os.strerror(code)}")
    return answer
