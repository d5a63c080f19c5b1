"""``edgeseg serve``: offers this machine's engines to other machines over the KServe v2 protocol."""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from edgeseg.errors import EdgesegError
from edgeseg.models.runtimes import AUTO, ENGINE_NAMES, ENGINES, JPEG_SUFFIX
from edgeseg.system.cpu_quota import whole_cpus

if TYPE_CHECKING:
    from edgeseg.engines.base import Engine
    from edgeseg.kserve.served_model import ServedModel
    from edgeseg.kserve.server import Tls
    from edgeseg.models.model import Model

DEFAULT_LISTEN = "127.0.0.1:8001"
_LEAST_TOKEN_CHARS = 16
# Of accelerators: one works while the next picture is on its way.
_AT_ONCE_BESIDE_THE_CPU = 2
# Requests that run at the stop may end within this time.
_GRACE_S = 5.0
_EXAMPLE = """\
The pipeline file of another machine then has:

  engine: kserve
  remote: {url: grpc://strong-box:8001, token_file: remote_token}

Each model takes uint8 1 x H x W x 3 RGB and gives labels and confidence; under NAME-jpeg it takes a JPEG.
"""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to ``edgeseg``."""
    parser = subparsers.add_parser(
        "serve",
        help="run networks for other machines (KServe v2 over gRPC)",
        description="Runs networks for other machines, whose pipeline files name it under `remote` "
        "(KServe v2 over gRPC). "
        "--at-once requests run, as many again wait, and more are refused at once.",
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "models",
        metavar="MODEL[@WxH]",
        nargs="+",
        help="a model's name or path, and the size it is served at",
    )
    parser.add_argument("--listen", default=DEFAULT_LISTEN, metavar="ADDRESS:PORT", help="(%(default)s)")
    parser.add_argument(
        "--token-file", type=Path, help="file that holds the token alone; needed where others reach it"
    )
    parser.add_argument("--certificate", type=Path, help="PEM with its chain, for TLS (grpcs://)")
    parser.add_argument("--key", type=Path, help="PEM, the certificate's key")
    parser.add_argument("--engine", default=AUTO, choices=ENGINE_NAMES, help="what runs them (%(default)s)")
    parser.add_argument(
        "--at-once", type=_positive, help="requests that run at once; default: one for each core, 2 beside it"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Serve until SIGTERM or Ctrl-C. Raises EdgesegError."""
    from edgeseg.config.keys.web import listen

    try:
        place = listen(args.listen)
    except ValueError as error:
        raise EdgesegError(f"--listen: {error}") from None
    token = None if args.token_file is None else _token(args.token_file)
    if token is None and not place.loopback:
        raise EdgesegError(
            f"--listen {args.listen}: others reach it there; this needs --token-file (openssl rand -hex 16)"
        )
    tls_files = _tls_files(args)
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(levelname)s %(message)s")
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    try:
        from edgeseg.kserve import server as protocol
    except ModuleNotFoundError as error:
        if error.name not in ("grpc", "tritonclient"):
            raise
        raise EdgesegError("serve needs more packages; pip install 'edgeseg[remote]'") from None
    from edgeseg.kserve.server_memory import RegionTable

    tls: Tls | None = None if tls_files is None else protocol.Tls(*tls_files)
    # Before anything takes long: a signal then ends it as it does later.
    stop = {signal.SIGTERM, signal.SIGINT}
    signal.pthread_sigmask(signal.SIG_BLOCK, stop)
    with ExitStack() as open_engines:
        offers, at_once = _load_models(args, open_engines)
        server, port = protocol.start(
            offers,
            f"{args.listen.rpartition(':')[0]}:{place.port}",
            most_at_once=2 * at_once,
            token=token,
            tls=tls,
            memory=RegionTable() if place.loopback else None,
        )
        scheme = "grpc" if tls is None else "grpcs"
        for one in offers:
            width, height = one.engine.input_size_px
            name = one.model.name
            print(f"{name} at {width}x{height} in {one.engine.name}, as {name} and {name}{JPEG_SUFFIX}")
        print(f"serving on {scheme}://{args.listen.rpartition(':')[0]}:{port}", flush=True)
        signal.sigwait(stop)
        server.stop(_GRACE_S).wait()
    return 0


def _load_models(args: argparse.Namespace, open_engines: ExitStack) -> tuple[tuple[ServedModel, ...], int]:
    from edgeseg.config.units import size_px
    from edgeseg.engines.select import choose
    from edgeseg.kserve.served_model import AdmissionLimit, serve_model
    from edgeseg.models import registry

    loaded: list[tuple[Model, Engine]] = []
    for text in args.models:
        name, at, written = text.rpartition("@")
        name, written = (name, written) if at else (text, "")
        model = registry.find(name)
        try:
            size = size_px(written) if written else choose(model, args.engine)[1].input.size_px
        except ValueError as error:
            raise EdgesegError(f"{text}: {error}") from None
        if any(model.name == other.name for other, _ in loaded):
            raise EdgesegError(f"{text}: model {model.name} is named twice")
        loaded.append((model, _opened(model, args.engine, size)))
        open_engines.callback(loaded[-1][1].close)
    beside = all(ENGINES[engine.name].accelerator for _, engine in loaded)
    at_once = args.at_once or (_AT_ONCE_BESIDE_THE_CPU if beside else whole_cpus())
    admission = AdmissionLimit(at_once, at_once)
    return tuple(serve_model(model, engine, admission) for model, engine in loaded), at_once


def _opened(model: Model, engine: str, size_px: tuple[int, int]) -> Engine:
    from edgeseg.engines import autotune

    return autotune.open_best_engine(model, engine, size_px, 1)


def _token(path: Path) -> str:
    try:
        token = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise EdgesegError(f"--token-file {path}: cannot be read: {error}") from None
    if len(token) < _LEAST_TOKEN_CHARS or not token.isascii() or len(token.split()) != 1:
        raise EdgesegError(
            f"--token-file {path}: expected one token of {_LEAST_TOKEN_CHARS} characters or more; make it by "
            "openssl rand -hex 16"
        )
    return token


def _tls_files(args: argparse.Namespace) -> tuple[bytes, bytes] | None:
    if args.certificate is None and args.key is None:
        return None
    if args.certificate is None or args.key is None:
        raise EdgesegError("--certificate and --key need each other")
    try:
        return args.certificate.read_bytes(), args.key.read_bytes()
    except OSError as error:
        raise EdgesegError(f"{error.filename}: cannot be read: {error.strerror}") from None


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"got {text}, expected 1 or more")
    return value
