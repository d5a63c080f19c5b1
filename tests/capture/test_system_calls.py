"""The system call filter names calls that libseccomp knows, also on the processors of boards."""

from __future__ import annotations

import ctypes
import socket
from collections.abc import Iterable

import pytest

from edgeseg.capture.sandbox import seccomp
from tests.conftest import missing

# AUDIT_ARCH_* of linux/audit.h.
ARCHITECTURES = {"x86-64": 0xC000003E, "aarch64": 0xC00000B7}
UNKNOWN = -1
# aarch64 never had these: its C library makes the newer call, which the filter must therefore allow.
REPLACED_BY = {
    "access": "faccessat",
    "dup2": "dup3",
    "epoll_wait": "epoll_pwait",
    "lstat": "newfstatat",
    "open": "openat",
    "poll": "ppoll",
    "readlink": "readlinkat",
    "select": "pselect6",
    "stat": "newfstatat",
    "time": "clock_gettime",
}


def numbers(architecture: int, names: Iterable[str]) -> dict[str, int]:
    """Each system call's number there; below UNKNOWN: one of other architectures, not of this one."""
    try:
        library = ctypes.CDLL("libseccomp.so.2")
    except OSError:
        missing("libseccomp (Debian: libseccomp2)")
    resolve = library.seccomp_syscall_resolve_name_arch
    resolve.argtypes = (ctypes.c_uint32, ctypes.c_char_p)
    return {name: int(resolve(architecture, name.encode())) for name in names}


def allowed() -> list[str]:
    return [name for name, _ in seccomp.rules([socket.AF_INET], devices=True)]


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_system_call_of_the_filter_is_known(architecture: str) -> None:
    found = numbers(ARCHITECTURES[architecture], allowed())
    assert [name for name, number in found.items() if number == UNKNOWN] == []
    assert found["read"] == {"x86-64": 0, "aarch64": 63}[architecture]


def test_what_aarch64_never_had_is_allowed_under_its_newer_name() -> None:
    found = numbers(ARCHITECTURES["aarch64"], allowed())
    assert {name for name, number in found.items() if number < 0} == set(REPLACED_BY)
    assert [newer for newer in REPLACED_BY.values() if found.get(newer, UNKNOWN) < 0] == []


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_misspelt_name_is_unknown(architecture: str) -> None:
    assert numbers(ARCHITECTURES[architecture], ["raed"]) == {"raed": UNKNOWN}
