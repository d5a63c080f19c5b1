"""The search of all output for passwords finds them: each way in which a test's output is seen."""

from __future__ import annotations

import pytest

pytest_plugins = ["pytester"]

LEAKS = """
import logging, subprocess, sys
import pytest
from tests.support import passwords

passwords.used("s3cret/word")

def test_print(): print("a s3cret/word")
def test_quoted(): print("rtsp://me:s3cret%2Fword@camera")
def test_log(): logging.getLogger("x").warning("s3cret/word")
def test_command(): subprocess.run([sys.executable, "-c", "print('s3cret/word')"], capture_output=True)
def test_taken(capsys):
    print("s3cret/word")
    assert capsys.readouterr().out
def test_noted(): passwords.note("topic s3cret/word")
def test_well(): print("secret word")
"""


def test_a_password_in_any_output_fails_the_test(pytester: pytest.Pytester) -> None:
    pytester.makeconftest("from tests.conftest import *\nfrom tests.conftest import _commands_are_searched\n")
    pytester.makepyfile(LEAKS)
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider", "-p", "no:xdist")
    result.assert_outcomes(passed=7, errors=6)
    result.stdout.fnmatch_lines(["*put out passwords that tests use: s3cret/word*"])
