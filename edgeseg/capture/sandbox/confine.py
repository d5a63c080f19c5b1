"""Confinement: what a camera process gives up before it reads the first byte from outside.

Decoders are large, written in C, and read what strangers send. A camera process therefore keeps its camera
and nothing else: it reads no file (but its clip, what resolves names, and installed programs), writes none,
starts no program and no process, sends no signal, connects to its camera's port alone, and was started
without the daemon's environment. What a kernel does not have of this is left out, and logged once.

A camera that GStreamer reads is not confined: plugins read files, devices and caches that cannot be listed,
may start programs, hold hundreds of descriptors (Jetson's pictures are one each) and record.
"""

from __future__ import annotations

import ctypes
import os
import resource
import socket
import sysconfig
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import unquote, urlsplit

from edgeseg.capture.sandbox import landlock, seccomp
from edgeseg.capture.sandbox.landlock import Access
from edgeseg.errors import SourceError
from edgeseg.sources.gstreamer import launch_line
from edgeseg.sources.network import PORTS

_READ = Access.READ_FILE | Access.READ_DIR
_DEVICE = Access.READ_FILE | Access.WRITE_FILE | Access.IOCTL_DEV
# Name resolution: nss(5), resolver(5), gai.conf(5), and the modules that nsswitch.conf names.
_NAMES = (
    *("/etc/resolv.conf", "/etc/hosts", "/etc/nsswitch.conf", "/etc/host.conf", "/etc/gai.conf"),
    *("/etc/services", "/etc/protocols", "/etc/ld.so.cache", "/run/systemd/resolve", "/lib", "/lib64"),
    *("/usr/lib", "/usr/lib64"),
)
# What drivers of hardware decoders look for. Environment files and passwords lie in none of them.
_DRIVERS = (
    "/usr",
    "/lib",
    "/lib64",
    "/sys",
    "/proc",
    "/opt",
    "/etc/ld.so.cache",
    "/etc/nvidia",
    "/etc/vulkan",
)
# DNS, when an answer is too long for one datagram.
_DNS_PORT = 53
# Where a web camera may redirect to.
_WEB_PORTS = (80, 443)

# Sixteen 4K reference pictures of 10 bits are 0.4 GB; ``growth`` notices leaks long before.
_DATA_BYTES = 1 << 30
_FILES_OPEN = 64
# A clip's shared memory counts as a file.
_FILE_BYTES = 1 << 28
_PR_SET_MDWE, _REFUSE_EXEC_GAIN = 65, 1

# For starting Python and its libraries. Passwords come in variables of any name, so all others stay away.
_HARMLESS = frozenset({"HOME", "LANG", "LANGUAGE", "LD_LIBRARY_PATH", "PATH", "TMPDIR", "TZ", "VIRTUAL_ENV"})
_HARMLESS_BEGINNINGS = ("LC_", "PYTHON", "COVERAGE_", "GST_", "LIBCAMERA_", "XDG_")


def gaps() -> str | None:
    """Describe what this machine cannot confine; None where it can confine everything."""
    missing = []
    version = landlock.version()
    if version == 0:
        missing.append("no Landlock in this kernel (Linux 5.13 or newer): files stay readable")
    elif version < 4:
        missing.append(
            "Landlock of this kernel knows no ports (Linux 6.7 or newer): they may connect anywhere"
        )
    if not seccomp.available():
        missing.append("no libseccomp (Debian: libseccomp2): system calls stay unfiltered")
    return "; ".join(missing) or None


def confine(url: str, decode: str = "software") -> None:
    """Give up everything that reading ``url`` does not need, for good. Call it before opening the source.

    decode: anything but ``software`` keeps the devices of hardware decoders. Raises SourceError where the
    kernel refuses what it has according to ``gaps``.
    """
    try:
        _confine(url, decode)
    except OSError as error:
        raise SourceError("crashed", f"the camera process cannot be confined: {error.strerror}") from None


def runs_own_code(url: str, decode: str = "software") -> bool:
    """Whether plugins or drivers read this source, which need more than a decoder does."""
    return decode != "software" or _kind(url)[0] not in (*PORTS, "v4l2", "file")


def _kind(url: str) -> tuple[str, str]:
    """Scheme, and what follows it."""
    if launch_line.pipeline_of(url) is not None:
        return "gstreamer", ""
    scheme, _, rest = url.partition("://") if "://" in url else ("file", "", url)
    return scheme.lower(), rest


def _confine(url: str, decode: str) -> None:
    # The daemon's standard output may be its events.
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 1)
    os.close(nothing)
    landlock.no_new_privileges()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    scheme, rest = _kind(url)
    if scheme not in (*PORTS, "v4l2", "file"):
        return
    files, ports = _needs(scheme, rest)
    # Python, numpy and PyAV import parts of themselves when they are first used.
    files |= {
        Path(sysconfig.get_path(name)): _READ for name in ("stdlib", "platstdlib", "purelib", "platlib")
    }
    files[Path(__file__).parents[2]] = _READ
    hardware = runs_own_code(url, decode)
    if hardware:
        files |= {Path(path): _READ for path in _DRIVERS} | {Path("/dev"): _DEVICE | _READ}
    else:
        _limit()
        # Only drivers make code at run time.
        ctypes.CDLL(None).prctl(_PR_SET_MDWE, _REFUSE_EXEC_GAIN, 0, 0, 0)
    # Asked first: it loads a library, which is a file.
    filters = seccomp.available()
    if landlock.version():
        landlock.restrict(files, ports)
    if filters:
        families = [socket.AF_INET, socket.AF_INET6, socket.AF_NETLINK] if scheme in PORTS else []
        # Names of multicast DNS come from a daemon at this machine; a bus, too, hangs on such sockets.
        if scheme in PORTS and (_host(url) or "").endswith(".local"):
            families.append(socket.AF_UNIX)
        seccomp.allow_only_decoding(families, devices=hardware or scheme == "v4l2")


@contextmanager
def harmless_environment() -> Iterator[None]:
    """What is started inside inherits no password. Changes the environment of all threads for so long."""
    before = dict(os.environ)
    try:
        os.environ.clear()
        os.environ.update(harmless(before))
        yield
    finally:
        os.environ.update(before)


def harmless(environment: Mapping[str, str]) -> dict[str, str]:
    """Of an environment what a camera process may know."""
    return {
        name: value
        for name, value in environment.items()
        if name in _HARMLESS or name.startswith(_HARMLESS_BEGINNINGS)
    }


def _needs(scheme: str, rest: str) -> tuple[dict[Path, Access], tuple[int, ...]]:
    """Files, and TCP ports to connect to."""
    if scheme == "v4l2":
        return {Path(rest): _DEVICE}, ()
    if scheme == "file":
        # Of a folder the pictures are read, of a clip the clip.
        path = Path(rest)
        return {path if path.exists() else Path(unquote(rest)): _READ}, ()
    names = {Path(path): _READ for path in _NAMES}
    port = _port(scheme, rest)
    return names, (port, _DNS_PORT, *(_WEB_PORTS if scheme.startswith("http") else ()))


def _port(scheme: str, rest: str) -> int:
    try:
        return urlsplit(f"{scheme}://{rest}").port or PORTS[scheme]
    except ValueError:
        return PORTS[scheme]


def _host(url: str) -> str | None:
    try:
        return urlsplit(url).hostname
    except ValueError:
        return None


def _limit() -> None:
    """Resource limits; where a lower one is in force it stays."""
    for kind, most in (
        (resource.RLIMIT_DATA, _DATA_BYTES),
        (resource.RLIMIT_NOFILE, _FILES_OPEN),
        (resource.RLIMIT_FSIZE, _FILE_BYTES),
    ):
        _, hard = resource.getrlimit(kind)
        limit = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(kind, (limit, limit))
