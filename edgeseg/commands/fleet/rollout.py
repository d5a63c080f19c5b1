"""``edgeseg fleet roll-out``: brings a pipeline file to many devices, stage by stage."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from edgeseg.commands.shared.broker_options import add_broker, broker_of

if TYPE_CHECKING:
    from edgeseg.settings import MqttSettings
    from edgeseg.tools.fleet.rollout import Target

_DESCRIPTION = """\
Brings a pipeline file, and models that it names, to many devices. Every device gets the new file beside the
one in force and checks it. When all checks pass, the file is put in force, on few devices first. A stage is
done when its nodes report over MQTT that the file is in force, and every camera is live that was live before
or is new. If a stage does not finish in time, or after Ctrl-C, every changed device gets its old file back.
Each device keeps the old file as FILE.previous.
"""


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add ``roll-out`` to ``edgeseg fleet``."""
    parser = commands.add_parser(
        "roll-out",
        help="bring a pipeline file or a model to many devices, stage by stage, and back if it fails",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "file", metavar="FILE", help="the pipeline file; {node} in its name stands for each node"
    )
    add_broker(parser)
    parser.add_argument(
        "--to",
        nargs="+",
        required=True,
        metavar="HOST[=NODE]",
        help="devices in the order in which they get it: a host for ssh, where sudo asks for no password, or "
        "a folder (with a slash) that holds a device's files; NODE where it is not called so (default: the "
        "file's node, else HOST up to its first dot)",
    )
    parser.add_argument(
        "--stages",
        default="1,all",
        help="how many have it after each stage, such as 1,3,all (default: 1,all)",
    )
    parser.add_argument(
        "--model",
        action="append",
        default=[],
        type=Path,
        metavar="FOLDER",
        help="also bring this model, to models/ beside the pipeline file; the file names it by that path",
    )
    parser.add_argument(
        "--place",
        default="/etc/edgeseg/main.yaml",
        help="its path on the devices (default: %(default)s)",
    )
    parser.add_argument(
        "--program", default="/opt/edgeseg/bin/edgeseg", help="edgeseg on the devices (default: %(default)s)"
    )
    parser.add_argument(
        "--reload", help="command there (default: systemctl reload edgeseg@ and PLACE's name)"
    )
    parser.add_argument(
        "--within", type=float, default=120.0, metavar="S", help="time limit of a stage (120)"
    )
    parser.add_argument(
        "--settle", type=float, default=20.0, metavar="S", help="how long the nodes must stay healthy (20)"
    )
    parser.set_defaults(run=lambda args: run(args, broker_of(args)))


def run(args: argparse.Namespace, settings: MqttSettings) -> int:
    """Return 0 when all devices have the file. Raises EdgesegError where not."""
    import shlex

    from edgeseg.errors import EdgesegError
    from edgeseg.tools.fleet.collect import FleetMonitor
    from edgeseg.tools.fleet.devices import DeviceLayout
    from edgeseg.tools.fleet.rollout import RollOut

    targets = [_target(args.file, one) for one in args.to]
    stages = stages_of(args.stages, len(targets))
    for model in args.model:
        if not (model / "model.yaml").is_file():
            raise EdgesegError(f"--model {model}: is no model's folder (no model.yaml in it)")
    reload = args.reload or f"systemctl reload {shlex.quote('edgeseg@' + Path(args.place).stem)}"
    layout = DeviceLayout(args.place, args.program, reload)
    with FleetMonitor(settings, args.prefix or ("edgeseg",)) as monitor:
        roll_out = RollOut(
            targets,
            layout,
            monitor,
            within_s=args.within,
            settle_s=args.settle,
            report=lambda line: print(line, flush=True),
        )
        roll_out.run(stages, tuple(args.model))
    return 0


def stages_of(text: str, devices: int) -> list[int]:
    """``1,3,all`` -> growing numbers of devices, the last of them all. Raises EdgesegError."""
    from edgeseg.errors import EdgesegError

    try:
        stages = [sys.maxsize if part.strip() == "all" else int(part) for part in text.split(",")]
    except ValueError:
        stages = []
    if not stages or stages[0] < 1 or stages != sorted(stages):
        raise EdgesegError(f"--stages {text}: expected growing numbers of devices, such as 1,3,all")
    capped = sorted({min(stage, devices) for stage in stages})
    return capped if capped[-1] == devices else [*capped, devices]


def _target(file: str, to: str) -> Target:
    from edgeseg.errors import EdgesegError
    from edgeseg.tools.fleet.devices import device
    from edgeseg.tools.fleet.rollout import Target
    from edgeseg.yamlfile import parse

    text, _, named = to.partition("=")
    reached = device(text)
    name = named or reached.name.partition(".")[0]
    path = Path(file.replace("{node}", name))
    try:
        content = path.read_bytes()
    except OSError as error:
        raise EdgesegError(f"{path}: {error.strerror}; name a pipeline file") from None
    try:
        content_keys, _ = parse(content.decode(), str(path))
    except UnicodeDecodeError:
        raise EdgesegError(f"{path}: is not UTF-8 text; name a pipeline file") from None
    cameras = content_keys.get("cameras") if isinstance(content_keys, dict) else None
    if not isinstance(content_keys, dict) or not isinstance(cameras, dict):
        raise EdgesegError(f"{path}: names no cameras; `edgeseg check` lists what is wrong")
    node = named or str(content_keys.get("node") or name)
    return Target(reached, node, content, frozenset(str(camera) for camera in cameras))
