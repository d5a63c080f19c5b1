"""Command line: parses, dispatches, and turns the user's mistakes into one line and exit code 2."""

from __future__ import annotations

import argparse
import errno
import os
import sys
from collections.abc import Sequence

from edgeseg import __version__
from edgeseg.commands import (
    archive,
    bench,
    check,
    demo,
    doctor,
    evaluate,
    fleet,
    health,
    init,
    install_service,
    listen,
    models,
    record,
    replay,
    run,
    schema,
    segment,
    serve,
    soak,
    top,
    tune,
)
from edgeseg.errors import ConfigError, EdgesegError
from edgeseg.system.logs import complain

_COMMANDS = (
    demo,
    init,
    check,
    run,
    listen,
    top,
    fleet,
    install_service,
    record,
    replay,
    segment,
    serve,
    tune,
    archive,
    models,
    evaluate,
    bench,
    health,
    soak,
    doctor,
    schema,
)

_EPILOG = """\
first steps:
  edgeseg demo                              see it work on a real clip
  edgeseg init                              make a pipeline file for a camera of yours
  edgeseg check pipelines/entrance.yaml     is the file right?
  edgeseg run pipelines/entrance.yaml       watch the cameras (JSON lines without a broker)

exit codes: 0 done, 1 a fault of edgeseg's own, or what doctor, soak or replay --expect found,
2 something to mend in what it was given.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command. Returns the exit code."""
    args = parser().parse_args(arguments)
    try:
        code: int = args.run(args)
        sys.stdout.flush()
    except ConfigError as error:
        # One line for each problem, which editors and grep can follow to its place.
        complain(str(error))
        return 2
    except EdgesegError as error:
        complain(f"edgeseg: {error}")
        return 2
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # The reader went away (`edgeseg replay ... | head`): not a fault. Standard output is pointed
        # elsewhere so that the interpreter's own flush at exit does not complain.
        _forget_stdout()
        return 0
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        complain(f"edgeseg: {error.filename or 'standard output'}: no space left on the device")
        _forget_stdout()
        return 1
    return code


def _forget_stdout() -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def parser() -> argparse.ArgumentParser:
    """The whole command line; the README's test walks it."""
    root = argparse.ArgumentParser(
        prog="edgeseg",
        description="Watches cameras: how much of each zone each class covers, and alerts when it changes.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    root.add_argument("--version", action="version", version=f"edgeseg {__version__}")
    subparsers = root.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for command in _COMMANDS:
        command.add_parser(subparsers)
    return root


if __name__ == "__main__":
    sys.exit(main())
