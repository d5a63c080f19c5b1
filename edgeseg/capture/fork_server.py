"""Fork server: starts processes that can be killed, from a server with their libraries in memory."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable
from multiprocessing import forkserver
from multiprocessing.connection import wait
from multiprocessing.context import ForkServerProcess
from typing import Any

from edgeseg.capture.sandbox.confine import gaps, harmless_environment

log = logging.getLogger(__name__)

_DEATH_WITHIN_S = 5.0
# What the server has in memory before it forks: the decoder, numpy, and all of the child's code.
_PRELOAD = ["edgeseg.capture.child", "edgeseg.stages.preprocess"]

# multiprocessing polls all of its processes whenever one starts, and two threads that poll one process
# at once can lose its exit code.
_processes = threading.Lock()


def start_fork_server() -> None:
    """Start the fork server, which all camera processes come from, and let it load its libraries.

    Call it before a runtime is loaded: the fork server keeps the standard error of this moment.
    """
    multiprocessing.get_context("forkserver").set_forkserver_preload(_PRELOAD)
    with _processes:
        if not _server_runs():
            with harmless_environment():
                forkserver.ensure_running()
            if missing := gaps():
                log.warning("camera processes are confined only in part: %s", missing)


def start(target: Callable[..., None], arguments: tuple[Any, ...], name: str) -> ForkServerProcess:
    """Start a process that runs ``target``. The first one in a program takes 0.4 s, for the server.

    Raises EOFError and OSError where the server was killed; the next attempt starts it again.
    """
    start_fork_server()
    process = multiprocessing.get_context("forkserver").Process(
        target=target, args=arguments, name=name, daemon=True
    )
    with _processes:
        process.start()
    return process


def cause_of_death(process: ForkServerProcess) -> str:
    """Describe why a process ended its connection."""
    wait([process.sentinel], _DEATH_WITHIN_S)
    with _processes:
        code = process.exitcode
    if code is None:
        return "closed its connection"
    if code < 0:
        return f"died of signal {-code} ({signal.strsignal(-code)})"
    return f"ended with exit code {code}"


def end(process: ForkServerProcess, grace_s: float) -> None:
    """Wait for the end of a process that was asked to stop, and kill it after ``grace_s``."""
    if not wait([process.sentinel], grace_s):
        process.kill()
    gone = wait([process.sentinel], _DEATH_WITHIN_S)
    with _processes:
        if gone:
            process.join()
            process.close()


def _server_runs() -> bool:
    server = forkserver._forkserver._forkserver_pid  # type: ignore[attr-defined]
    if server is None:
        return False
    try:
        # Looks without taking the exit code, which multiprocessing asks for itself.
        return os.waitid(os.P_PID, server, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None
    except ChildProcessError:
        return False
