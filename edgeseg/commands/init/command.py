"""``edgeseg init``: writes a pipeline file from a camera's address."""

from __future__ import annotations

import argparse
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from edgeseg.commands.init.camera import CameraAddress, camera_of, choose_stream, discovered
from edgeseg.commands.init.pipeline_text import WEB_LISTEN, Answers, classes_in_short, pipeline_text
from edgeseg.commands.init.prompts import Prompter
from edgeseg.commands.shared.terminal import download_bars
from edgeseg.errors import EdgesegError, ModelError, SourceError
from edgeseg.models.runtimes import AUTO, ENGINE_NAMES
from edgeseg.settings import DEFAULT_MODEL

if TYPE_CHECKING:
    from edgeseg.models.model import Model

# Its weights are always here, and what is always installed runs it.
_BUNDLED_MODEL = "deeplabv3plus-mnv2-camvid"
_RATE_FPS = 5.0

_DESCRIPTION = """\
Writes a first pipeline file. It tries the camera, uses its substream where the address is that of a main
stream, fetches a network, measures which engine runs it fastest here, and writes a commented file with a zone
in the middle of the picture. On a terminal it asks for what no flag gives. Passwords go into variables, never
into the file; the command prints how to set them. It overwrites nothing.
"""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser(
        "init",
        help="write a first pipeline file for your camera",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--camera",
        metavar="URL",
        help="rtsp://user@host/path and the like; write ${VAR} in single quotes for a password that is in "
        "the environment, or leave it out to be asked",
    )
    parser.add_argument("--discover", action="store_true", help="search the local network for ONVIF cameras")
    parser.add_argument("--name", help="the camera's name in topics: a-z, 0-9, _ and - (default: camera)")
    parser.add_argument("--model", help=f"a model's name or folder (default: {DEFAULT_MODEL})")
    parser.add_argument(
        "--engine", choices=ENGINE_NAMES, default=AUTO, help="the engine (default: %(default)s)"
    )
    parser.add_argument("--mqtt", metavar="URL", help="broker: mqtt://host or mqtts://user@host")
    parser.add_argument("--output", type=Path, metavar="FILE", help="where to write (default: NAME.yaml)")
    parser.add_argument("--untested", action="store_true", help="do not try the camera")
    parser.add_argument("--yes", action="store_true", help="ask nothing, take the defaults")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Returns the exit code."""
    from edgeseg import config
    from edgeseg.config import names

    prompter = Prompter.for_terminal(args.yes)
    if wrong := names.name_error(args.name) if args.name is not None else "":
        raise EdgesegError(f"--name: {wrong}")
    name = args.name or prompter.text("a name for the camera", "camera", names.name_error)
    path = args.output or Path(f"{name}.yaml")
    if path.exists():
        raise EdgesegError(f"{path}: is there already; choose another --output, or edit it")
    broker, username = _broker(args, prompter)
    camera = _camera(args, name, prompter)
    model, size_px = _model(args, prompter)
    answers = Answers(
        file=str(path),
        node=names.default_node(),
        camera=name,
        source=camera.template,
        seen=camera.seen or "not tried yet",
        # A folder's path means another folder elsewhere.
        model=str(Path(args.model).absolute()) if "/" in (args.model or "") else model.name,
        classes=model.classes,
        engine=args.engine,
        measured=_measured(model, args.engine, size_px),
        rate_fps=_RATE_FPS if camera.fps is None else max(0.5, min(_RATE_FPS, round(camera.fps))),
        mqtt=broker,
        username=username,
        variables=tuple(camera.values),
    )
    text = pipeline_text(answers)
    # Checked first: an invalid file is not written.
    config.check(text, path)
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise EdgesegError(f"{path}: cannot be written: {error.strerror}; choose another --output") from None
    _print_next_steps(answers, path)
    return 0


def _camera(args: argparse.Namespace, name: str, prompter: Prompter) -> CameraAddress:
    address = args.camera
    if address is None and args.discover:
        address = discovered(prompter)
    while True:
        if address is None:
            address = prompter.needed(
                "the camera's address (rtsp://user@host/path, or a clip)", "--camera URL"
            )
        try:
            camera = camera_of(address, name, prompter)
            return camera if args.untested else choose_stream(camera, _RATE_FPS, prompter)
        except SourceError as error:
            if not prompter.asks:
                raise EdgesegError(f"{error}; --untested writes the file without trying the camera") from None
            print(f"  {error}")
            if prompter.confirm("write the file anyway?", default=False):
                return camera_of(address, name, prompter)
        except EdgesegError as error:
            if not prompter.asks:
                raise
            print(f"  {error}")
        address = None


def _broker(args: argparse.Namespace, prompter: Prompter) -> tuple[str | None, str | None]:
    """Return address and user. A password in the address is refused: it would stay in the shell's history."""
    from edgeseg.config import addresses

    written = args.mqtt or prompter.text("MQTT broker, such as mqtt://user@host (Enter: none)")
    if not written:
        return None, None
    scheme, _, rest = written.partition("://")
    login, at, host = rest.rpartition("@")
    if ":" in login:
        raise EdgesegError(
            "the broker's address holds a password; leave it out, it goes into a file of its own"
        )
    url = f"{scheme}://{host}" if at else written
    try:
        addresses.broker(url)
    except ValueError as error:
        raise EdgesegError(f"the broker's address {error}") from None
    _warn_if_away(url)
    return url, login or None


def _warn_if_away(url: str) -> None:
    """Print a note where the broker does not answer; it may come later."""
    from edgeseg.config import addresses
    from edgeseg.publish.mqtt.access_check import reach
    from edgeseg.settings import MqttSettings

    broker = addresses.broker(url)
    try:
        reach(MqttSettings(broker.host, broker.port, broker.tls, None, None, None, None, "edgeseg"))
    except OSError as error:
        where = f"{broker.host}:{broker.port}"
        print(f"  {where} does not answer yet ({error.strerror or error}); edgeseg waits for it")


def _model(args: argparse.Namespace, prompter: Prompter) -> tuple[Model, tuple[int, int]]:
    """Return a network that can run here, and its input size.

    Raises ModelError where ``--model`` cannot run; the bundled model replaces the default one.
    """
    from edgeseg.engines.select import candidates
    from edgeseg.models import registry

    name = args.model or _choose_model(prompter)
    model = registry.find(name)
    try:
        if not any(registry.has_weights(model, artefact) for artefact in model.artefacts):
            print(f"fetching {model.name} ...", flush=True)
            with download_bars(False) as bars:
                registry.pull(model, bars, threading.Event())
        if args.engine == AUTO and not candidates(model, model.input.size_px):
            formats = " and ".join(sorted({artefact.format for artefact in model.artefacts}))
            raise ModelError(
                f"model {name}: nothing installed here reads {formats}; pip install 'edgeseg[litert]'"
            )
    except ModelError as error:
        if args.model is not None or name == _BUNDLED_MODEL:
            raise
        print(f"  {error}\n  so {_BUNDLED_MODEL} is used, which is made for street scenes")
        model = registry.find(_BUNDLED_MODEL)
    return model, model.input.size_px


def _choose_model(prompter: Prompter) -> str:
    from edgeseg.models import registry

    models = sorted(registry.list_models(), key=lambda model: model.name != DEFAULT_MODEL)
    options = [f"{model.name}: {classes_in_short(model.classes)}" for model in models]
    if prompter.asks:
        print("networks and their classes:")
    return models[prompter.choice("which one", options)].name


def _measured(model: Model, engine: str, size_px: tuple[int, int]) -> str:
    """Return which engine runs the network here, as a comment for the file.

    Raises EngineError where ``--engine`` does not run it.
    """
    from edgeseg.engines import autotune, measurement_cache
    from edgeseg.engines.select import candidates, open_engine

    if engine != AUTO:
        open_engine(model, engine, size_px).close()
        return "`auto` would measure which is the fastest here"
    print("measuring which engine is fastest here ...", flush=True)
    ranking = autotune.rank_candidates(model, size_px, 1)
    table = measurement_cache.load(model, size_px, 1, candidates(model, size_px), exactly=True)
    best = table.best if table else None
    result = f"{ranking[0].engine} here" if ranking else "measured at the first start"
    if best is not None:
        result = f"{best.engine} here, {best.cpu_ms or 0.0:.0f} ms of CPU a picture"
    print(f"  {model.name}: {result}")
    return f"the fastest, measured: {result}"


def _print_next_steps(answers: Answers, path: Path) -> None:
    print(f"\nwrote {path}\n\nnext:")
    for name in answers.variables:
        print(f"  export {name}='...'    # the camera's password; it is not in the file")
    if answers.username is not None:
        place = path.parent / "mqtt_password"
        print(f"  install -m 0600 /dev/stdin {place}    # type the broker's password, Enter, Ctrl-D")
    print(f"  edgeseg run {path}")
    print(f"  then draw the zone in the browser: http://{WEB_LISTEN}/")
    print(f"if something does not work: edgeseg doctor {path}")
