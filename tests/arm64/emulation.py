"""A pytest plugin: skips what user-mode emulation cannot do, each with its reason.

None of these is edgeseg's fault; all of them run on real processors. A name that no test has any more is an
error.
"""

from __future__ import annotations

import pytest

_NO_SECCOMP = "qemu-user has no seccomp: a filter of aarch64 calls cannot be installed"
_NO_LANDLOCK = "qemu-user has no Landlock: its system calls do not exist"
_ONE_USER = "the user namespace maps a single user: nothing can become another one"
# Name of a test, without its parameters -> why it is skipped.
_SANDBOX = "tests/capture/test_sandbox.py::"
SKIPPED = {
    "tests/publish/test_outbox.py::test_a_missing_permission_is_called_that": _ONE_USER,
    "tests/capture/test_sandbox.py::test_a_name_is_resolved_in_confinement": _NO_SECCOMP,
    "tests/capture/test_sandbox.py::test_without_landlock_and_libseccomp_it_decodes_and_says_so": _NO_SECCOMP,
    "tests/capture/test_sandbox.py::test_a_clip_is_all_there_is": _NO_LANDLOCK,
    "tests/capture/test_sandbox.py::test_a_camera_has_its_own_port_alone": _NO_LANDLOCK,
    _SANDBOX + "test_a_refused_confinement_ends_the_process_before_the_first_byte": _NO_LANDLOCK,
}


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if reason := SKIPPED.get(item.nodeid.partition("[")[0]):
            item.add_marker(pytest.mark.skip(reason=reason))
    # Of the files that this run collects, at least.
    files = {item.nodeid.partition("::")[0] for item in items}
    tests = {item.nodeid.partition("[")[0] for item in items}
    if unknown := [name for name in SKIPPED if name.partition("::")[0] in files and name not in tests]:
        raise pytest.UsageError(
            f"tests/arm64/emulation.py names tests that are not there: {', '.join(unknown)}"
        )
