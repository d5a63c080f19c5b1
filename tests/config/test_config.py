"""Pipeline files: what they mean, and one exact line for each way to get them wrong."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from jsonschema import Draft202012Validator

from edgeseg import config
from edgeseg.commands.schema import DIALECT
from edgeseg.config import geometry, names, units
from edgeseg.errors import ConfigError
from edgeseg.models import registry
from edgeseg.settings import ActiveHours, GateSettings, PipelineSettings, RuleSettings
from edgeseg.yamlfile import Sexagesimal, suggestion
from tests.conftest import TESTS

FILE = "yard.yaml"
ZONE = """\
cameras:
  yard:
    source: rtsp://10.0.0.5/stream2
    zones:
      gate:
"""
SQUARE = "        polygon: [[0.1, 0.1], [0.9, 0.1], [0.9, 0.9], [0.1, 0.9]]\n"
RULE = ZONE + SQUARE + "        rules:\n          blocked: "


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # So that messages name the file without its folder.
    monkeypatch.chdir(tmp_path)


def load(text: str) -> PipelineSettings:
    Path(FILE).write_text(text, encoding="utf-8")
    return config.load(Path(FILE))


def problems(text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(text)
    return str(caught.value).split("\n")


def rule(text: str) -> RuleSettings:
    return load(f"{RULE}{{{text}}}\n").cameras[0].zones[0].rules[0]


EVERYTHING = """\
node: gatehouse
mqtt: {url: "mqtts://broker.local", username: edgeseg, password_file: mqtt_password, prefix: site/edgeseg}
model: deeplabv3-mnv2-pascal
engine: auto
input: 513x513
groups: {vehicle: [car, bus], pet: cat}
cameras:
  yard:
    source: rtsp://viewer:${YARD_PASSWORD}@10.0.0.5/stream2
    rate: 0.5
    fit: tiles
    priority: 1
    max_age: 500 ms
    gate: {motion: on, refresh: 30 s, sensitivity: high, keyframes: off}
    zones:
      loading_bay:
        name: Loading bay
        polygon: [[0.10, 0.50], [0.60, 0.50], [0.70, 1.00], [0.00, 1.00], [0.10, 0.50]]
        exclude: [[[0.30, 0.80], [0.40, 0.80], [0.40, 0.90]]]
        confidence: 50 %
        rules:
          blocked: {occupied: [vehicle, person], enter: 20 %, leave: 10 %, for: 10 s, clear: 20 s,
                    cooldown: 1 min}
          emptied: {changed: {from: chair}, enter: 50%, leave: 70 %, for: 30 s}
          unguarded: {absent: [person], enter: 0.5 %, leave: 2 %, for: 1 h 30 min, hours: "22:00-06:00",
                      timezone: Europe/Rome, on_unknown: end}
          other: {changed: dominant, reference: pet}
  street:
    source: clips/street.mp4
    model: deeplab-mnv2-cityscapes
    engine: litert
    input: 513x513
    gate: off
    zones:
      both_sides: {polygon: [[[0, 0], [0.2, 0], [0.2, 1]], [[0.8, 0], [1, 0], [1, 1]]]}
"""


def test_every_key_of_the_vocabulary() -> None:
    settings = load(EVERYTHING)
    assert (settings.file, settings.node) == (FILE, "gatehouse")
    assert settings.groups == {"vehicle": ("car", "bus"), "pet": ("cat",)}
    mqtt = settings.mqtt
    assert mqtt is not None
    assert (mqtt.host, mqtt.port, mqtt.tls, mqtt.prefix) == ("broker.local", 8883, True, "site/edgeseg")
    assert (mqtt.username, mqtt.password, mqtt.password_file) == ("edgeseg", None, "mqtt_password")
    yard, street = settings.cameras
    assert yard.source.shown == "rtsp://***@10.0.0.5/stream2"
    assert yard.source.url is None
    assert (yard.rate_fps, yard.fit, yard.priority, yard.engine) == (0.5, "tiles", 1, "auto")
    assert (street.model, street.engine, street.input_size_px) == (
        "deeplab-mnv2-cityscapes",
        "litert",
        (513, 513),
    )
    assert (street.rate_fps, street.fit, street.priority) == (5.0, None, 0)
    assert (yard.max_age_s, street.max_age_s) == (0.5, None)
    assert yard.gate == GateSettings(refresh_s=30.0, sensitivity="high", keyframes=False)
    assert street.gate is None
    (bay,) = yard.zones
    assert (bay.name, bay.title, bay.confidence_floor) == ("loading_bay", "Loading bay", 0.5)
    assert bay.include == (((0.1, 0.5), (0.6, 0.5), (0.7, 1.0), (0.0, 1.0)),)
    assert bay.exclude == (((0.3, 0.8), (0.4, 0.8), (0.4, 0.9)),)
    assert [len(polygon) for polygon in street.zones[0].include] == [3, 3]
    assert street.zones[0].title == "Both sides"
    blocked, emptied, unguarded, other = bay.rules
    assert blocked == RuleSettings(
        name="blocked",
        kind="occupied",
        terms=("vehicle", "person"),
        classes=("car", "bus", "person"),
        enter=0.2,
        leave=0.1,
        reference=None,
        reference_classes=(),
        for_s=10.0,
        clear_s=20.0,
        cooldown_s=60.0,
        hours=None,
        on_unknown="hold",
    )
    assert (emptied.kind, emptied.classes, emptied.enter, emptied.leave) == ("changed", ("chair",), 0.5, 0.7)
    assert (unguarded.kind, unguarded.for_s, unguarded.on_unknown) == ("absent", 5400.0, "end")
    assert unguarded.hours == ActiveHours(22 * 60, 6 * 60, "Europe/Rome")
    assert (other.classes, other.enter, other.leave) == ((), None, None)
    assert (other.reference, other.reference_classes) == ("pet", ("cat",))


def test_a_camera_with_a_source_is_enough() -> None:
    settings = load("cameras: {yard: {source: clips/a.mp4}}")
    (camera,) = settings.cameras
    assert settings.mqtt is None
    assert names.name_error(settings.node) == ""
    assert (camera.model, camera.engine, camera.rate_fps) == ("deeplabv3-mnv2-pascal", "auto", 5.0)
    assert camera.gate == GateSettings(refresh_s=5.0, sensitivity="medium", keyframes=True)
    assert camera.zones == ()


@pytest.mark.parametrize(
    ("text", "enter", "leave"),
    [
        ("occupied: [car]", 0.1, 0.05),
        ("occupied: car, enter: 30 %", 0.3, 0.15),
        ("occupied: car, enter: 30 %, leave: 30 %", 0.3, 0.3),
        ("occupied: car, enter: 30 %, leave: 0 %", 0.3, 0.0),
        ("absent: [car]", 0.01, 0.02),
        ("absent: [car], enter: 0.5 %", 0.005, 0.01),
        ("changed: {from: car}", 0.5, 0.75),
        ("changed: {from: car}, enter: 80 %", 0.8, 0.9),
    ],
)
def test_thresholds_have_defaults(text: str, enter: float, leave: float) -> None:
    made = rule(text)
    assert (made.enter, made.leave) == (enter, leave)


def test_clear_is_like_for_unless_it_is_given() -> None:
    assert (rule("occupied: car").for_s, rule("occupied: car").clear_s) == (5.0, 5.0)
    assert (rule("occupied: car, for: 0 s").for_s, rule("occupied: car, for: 90 s").clear_s) == (0.0, 90.0)
    assert rule("occupied: car, for: 90 s, clear: 500 ms").clear_s == 0.5


def test_a_group_stands_for_those_of_its_classes_that_the_camera_s_model_has() -> None:
    text = """\
groups: {cycle: [bicycle, motorbike, motorcycle]}
cameras:
  a: {source: a.mp4, zones: {z: {polygon: [[0, 0], [1, 0], [1, 1]], rules: {r: {occupied: cycle}}}}}
  b:
    source: b.mp4
    model: deeplab-mnv2-cityscapes
    zones: {z: {polygon: [[0, 0], [1, 0], [1, 1]], rules: {r: {occupied: [cycle, bicycle]}}}}
"""
    first, second = (camera.zones[0].rules[0].classes for camera in load(text).cameras)
    assert first == ("bicycle", "motorbike")
    assert second == ("bicycle", "motorcycle")


def test_a_model_may_be_a_path_relative_to_the_file(tmp_path: Path) -> None:
    folder = tmp_path / "mine" / "net"
    folder.mkdir(parents=True)
    shipped = Path(config.__file__).parents[2] / "models" / "deeplabv3-mnv2-pascal" / "model.yaml"
    text = shipped.read_text().replace("name: deeplabv3-mnv2-pascal", "name: net", 1)
    (folder / "model.yaml").write_text(text)
    assert load("model: ./mine/net\ncameras: {yard: {source: a.mp4}}").cameras[0].model == str(folder)


MISTAKES = yaml.safe_load((TESTS / "config_mistakes.yaml").read_text(encoding="utf-8"))


@pytest.mark.parametrize("case", MISTAKES, ids=[case["name"] for case in MISTAKES])
def test_each_mistake_has_one_clear_line(case: dict[str, str]) -> None:
    models = ", ".join(str(folder) for folder in registry.search_path())
    assert problems(case["file"]) == [case["says"].replace("{models}", models)]


def test_all_mistakes_at_once_in_the_order_of_the_file() -> None:
    text = """\
engine: kserv
budget: 60 %
groups: {vehicle: [car, trukc]}
cameras:
  yard:
    sorce: rtsp://10.0.0.5/
    rate: 500
    zones:
      gate:
        polygon: [[0.1, 0.1], [0.9, 0.9]]
        confidence: 0.5
        rules:
          blocked: {occupied: [vehicle, cra], enter: 20 %, leave: 30 %, for: 10, claer: 20 s}
          guarded: {occupied: [vehicle]}
      shed:
        polygon: 5
  Porch: {source: "rtps://10.0.0.6/"}
"""
    said = problems(text)
    assert [line.split(": ")[0] + " " + line.split(": ")[1] for line in said] == [
        "yard.yaml:1:9 engine",
        "yard.yaml:2:9 budget",
        "yard.yaml:3:25 groups.vehicle[1]",
        "yard.yaml:6:5 cameras.yard.source",
        "yard.yaml:6:5 cameras.yard.sorce",
        "yard.yaml:7:11 cameras.yard.rate",
        "yard.yaml:10:18 cameras.yard.zones.gate.polygon",
        "yard.yaml:11:21 cameras.yard.zones.gate.confidence",
        "yard.yaml:13:41 cameras.yard.zones.gate.rules.blocked.occupied[1]",
        "yard.yaml:13:67 cameras.yard.zones.gate.rules.blocked.leave",
        "yard.yaml:13:78 cameras.yard.zones.gate.rules.blocked.for",
        "yard.yaml:13:82 cameras.yard.zones.gate.rules.blocked.claer",
        "yard.yaml:16:18 cameras.yard.zones.shed.polygon",
        "yard.yaml:17:3 cameras.Porch",
        "yard.yaml:17:19 cameras.Porch.source",
    ]


def test_a_wrong_key_is_not_also_a_missing_one() -> None:
    assert len(problems(RULE + "{ocupied: [car]}\n")) == 1
    assert len(problems(RULE + "{occupied: 5}\n")) == 1
    assert len(problems(RULE + "{occupied: car, entr: 20 %, leave: 10 %}\n")) == 1
    assert (
        len(problems('mqtt: {url: "mqtt://b", user: me, password_file: p}\ncameras: {a: {source: b}}')) == 1
    )


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("rstp://10.0.0.5/", "did you mean 'rtsp'"),
        ("rtmp://10.0.0.5/", "reads no rtmp:// addresses"),
        ("rtsp://u:p@ss@10.0.0.5/", "write %40"),
        ("rtsp://u:p/ss@10.0.0.5/", "write %40"),
        ("rtsp://u:p?ss@10.0.0.5/", "write %40"),
        ("rtsp://10.0.0.5:99999/", "port from 1 to 65535"),
        ("rtsp://10.0.0.5:0/", "port"),
        ("rtsp://10.0.0.5:" + "9" * 5000, "port from 1 to 65535"),
        ("rtsp://u:[p@10.0.0.5:554/", "%3A for a ':' inside a password"),
        ("rtsp:///stream", "no host"),
        ("rtsp://u:p@/stream", "no host"),
        ("rtsp:/10.0.0.5", "'//' after the colon"),
        ("rtsp://10.0.0.5/a b", "write %20"),
        ("v4l2:/dev/video0", "'//' after the colon"),
        ("v4l2://dev/video0", "three slashes"),
        ("file://clips/a.mp4", "three slashes"),
        ("${CAMERA}", "is all one variable"),
        ("rtsp://u:${A B}@10.0.0.5/", "is no ${NAME}"),
        ("rtsp://u:${A@10.0.0.5/", "is no ${NAME}"),
        ("~/clips/a.mp4", "'~' is not expanded"),
        ("", "is empty"),
        ("a\\u0007b", "control character"),
    ],
)
def test_sources_that_cannot_be(source: str, words: str) -> None:
    (said,) = problems(f'cameras: {{yard: {{source: "{source}"}}}}')
    assert said.startswith("yard.yaml:1:26: cameras.yard.source: ")
    assert words in said
    # Whatever part of it is a password is not repeated.
    assert "p@ss" not in said
    assert "p/ss" not in said


@pytest.mark.parametrize(
    "source",
    [
        "rtsp://${USER}:${PASSWORD}@${HOST}:${PORT}/live/${KEY}?channel=1",
        "rtsps://[fe80::1%eth0]:322/stream",
        "RTSP://camera_1.local/",
        "http://10.0.0.5/snap.mjpg?user=a&pwd=b",
        "v4l2:///dev/video0",
        "file:///srv/clips/a.mp4",
        "clips/a b.mp4",
        "pictures",
        "${HOME}/x.mp4",
        # What is no variable's name may be part of a password.
        "rtsp://u:Pa$WORD@10.0.0.5/",
        "rtsp://u:$word@10.0.0.5/",
    ],
)
def test_sources_that_can_be(source: str) -> None:
    assert load(f"cameras: {{yard: {{source: '{source}'}}}}").cameras[0].source.template == source


def test_a_path_takes_variables_as_they_are_and_says_where_it_led() -> None:
    settings = config.resolve(
        load("cameras: {yard: {source: '${CLIPS}/x.mp4'}}"), {"CLIPS": "/srv/50 % off"}, None
    )
    (camera,) = settings.cameras
    assert camera.source.url is not None
    assert camera.source.url.reveal() == camera.source.shown == "/srv/50 % off/x.mp4"
    # Hidden, every other line about that folder would be unreadable.
    assert config.secrets_of(settings) == ()


def test_zones_may_overlap_and_touch_themselves_nowhere() -> None:
    read = geometry.read_polygons
    assert read([[0, 0], [1, 0], [1, 1]])[1] == []
    # A corner that touches another edge pinches the zone.
    pinched = [[0, 0], [1, 0], [1, 1], [0.5, 0], [0, 1]]
    assert "meets the edge" in read(pinched)[1][0].message
    spike = [[0, 0], [1, 0], [0.5, 0], [0.5, 1]]
    assert "meets the edge" in read(spike)[1][0].message
    assert "are the same" in read([[0, 0], [0, 0], [1, 0], [1, 1]])[1][0].message
    # Straight corners are fine.
    assert read([[0, 0], [0.5, 0], [1, 0], [1, 1]])[1] == []


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ([], "0 points"),
        ([[0.5, 0.5]], "1 point,"),
        ([0.1, 0.2, 0.3, 0.4], "point 1: got 0.1, expected [x, y]"),
        ([[0, 0], [1, 0], "a"], "point 3: got 'a'"),
        ([[0, 0], [1, 0], [1, 1, 1]], "point 3: got a list of 3"),
        ([[0, 0], [1, True], [1, 1]], "y is true"),
        ([[[0, 0], [1, 0], [1, 1]], [[0, 0]]], "1 point,"),
        ("0.1,0.1", "expected a list of points"),
        ([[0, i / 300] for i in range(300)], "200 are the most"),
    ],
)
def test_shapes_that_are_no_polygon(value: object, words: str) -> None:
    _, flaws = geometry.read_polygons(value)
    assert words in flaws[0].message


@pytest.mark.parametrize(
    ("name", "known", "meant"),
    [
        ("cra", ("bus", "car", "cat", "crane_truck"), "car"),
        ("cra", ("cat", "car"), "car"),
        ("Peron", ("person", "bus"), "person"),
        ("zone", ("polygon", "zones"), "zones"),
    ],
)
def test_letters_that_changed_places_are_nearer(name: str, known: tuple[str, ...], meant: str) -> None:
    assert suggestion(name, known) == f"; did you mean '{meant}'?"


def test_nothing_near() -> None:
    assert suggestion("xyz", ("car", "bus")) == "; known are: bus, car"
    assert suggestion("xyz", ()) == ""


def test_a_zone_with_too_many_points() -> None:
    triangles = [[[0.1, 0.1], [0.9, 0.1], [0.9, 0.2 + i / 100]] for i in range(60)]
    zone = f"        polygon: {triangles}\n        exclude: {{}}\n"
    assert load(ZONE + zone.format(triangles[:25])).cameras[0].zones[0].include
    said = problems(ZONE + zone.format(triangles[:26]))
    assert said == [
        "yard.yaml:6:18: cameras.yard.zones.gate.polygon: 258 points in all polygons of the zone, "
        "256 are the most; use fewer, or two zones"
    ]


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("10 s", 10),
        ("10s", 10),
        ("500 ms", 0.5),
        ("0 s", 0),
        ("1.5 min", 90),
        ("1 h 30 min", 5400),
        ("2 d", 172800),
    ],
)
def test_durations(text: str, seconds: float) -> None:
    assert units.duration_s(text) == seconds


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("10", "expected a duration"),
        ("10 sec", "write '10 s'"),
        ("5 m", "write '5 min'"),
        ("5 S", "write '5 s'"),
        ("1h30m", "write '1 h 30 min'"),
        ("30m1h", "write '1 h 30 min'"),
        ("1h 30 fortnights", "units are ms, s, min, h, d"),
        ("1h30m or so", "no unit is called 'm'; units are"),
        ("5 weeks", "units are ms, s, min, h, d"),
        ("30 min 1 h", "largest first"),
        ("1 h 1 h", "each unit once"),
        ("-5 s", "expected a duration"),
        ("", "expected a duration"),
        ("31 d", "at most 30 d"),
        (True, "got true"),
        (Sexagesimal("1:30"), "base 60"),
    ],
)
def test_no_durations(value: object, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        units.duration_s(value)


@pytest.mark.parametrize(("text", "share"), [("20 %", 0.2), ("0.5%", 0.005), ("100 %", 1.0), ("0 %", 0.0)])
def test_shares(text: str, share: float) -> None:
    assert units.share(text) == share
    assert units.share(units.share_text(share)) == share


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (20, "write '20 %'"),
        (0.2, "write '20 %'"),
        (1, "'1 %' or '100 %'"),
        ("0,5 %", "a point, not a comma"),
        ("120 %", "0 % to 100 %"),
        ("twenty", "expected a percentage"),
        (None, "got nothing"),
    ],
)
def test_no_shares(value: object, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        units.share(value)


@pytest.mark.parametrize(
    ("text", "window"), [("22:00-06:00", (1320, 360)), ("8:00 - 24:00", (480, 1440)), ("0:00-0:01", (0, 1))]
)
def test_hours(text: str, window: tuple[int, int]) -> None:
    assert units.hours_min(text) == window


@pytest.mark.parametrize("text", ["22:00-22:00", "24:00-06:00", "22:60-23:00", "22-6", "late", 22])
def test_no_hours(text: object) -> None:
    with pytest.raises(ValueError, match="got "):
        units.hours_min(text)


def test_sizes() -> None:
    assert units.size_px("512x288") == units.size_px("512 × 288") == (512, 288)
    for wrong in ("512", "0x10", "512x99999", 512, None):
        with pytest.raises(ValueError, match="got "):
            units.size_px(wrong)


def test_names() -> None:
    assert names.name_error("yard-1_b") == ""
    assert "'#' cannot be in a name" in names.name_error("yard#1")
    assert "'/' cannot be in a name" in names.name_error("a/b")
    assert "cannot be empty" in names.name_error("")
    assert "at most 64" in names.name_error("a" * 65)
    assert names.topic_safe("Gate House.local") == "gate_house_local"


def test_words_for_switches_and_old_octals_stay_what_they_are() -> None:
    settings = load("node: no\ncameras: {0123: {source: 1e3.mp4}, on: {source: a.mp4}}")
    assert settings.node == "no"
    assert [camera.name for camera in settings.cameras] == ["0123", "on"]


def test_files_that_are_none() -> None:
    assert problems("") == ["yard.yaml: is empty; a pipeline file needs at least 'cameras:'"]
    assert problems("- a\n") == ["yard.yaml: holds no keys; a pipeline file needs at least 'cameras:'"]
    with pytest.raises(ConfigError, match=r"^absent\.yaml: cannot be read: No such file or directory"):
        config.load(Path("absent.yaml"))


def test_the_schema_for_editors_agrees_with_the_loader() -> None:
    schema = config.json_schema()
    Draft202012Validator.check_schema(schema)
    validator = Draft202012Validator(schema)
    validator.validate(yaml.safe_load(EVERYTHING))
    for wrong in (
        {"cameras": {}},
        {"cameras": {"a": {"source": "b", "web": 1}}},
        {"cameras": {"a": {"source": None}}},
        {"cameras": {"a": {"source": "b", "rate": 100}}},
        {"cameras": {"a": {"source": "b"}}, "engine": "kserv"},
        {"cameras": {"a": {"source": "b"}}, "engine": "kserve", "remote": {"url": "http://a"}},
        {"cameras": {"a": {"source": "b", "zones": {"z": {"polygon": [[0, 0], [1, 2], [1, 1]]}}}}},
    ):
        assert not validator.is_valid(wrong), wrong
    text = json.dumps(schema)
    assert '"null"' not in text
    assert (schema["$schema"], schema["title"]) == (DIALECT, "edgeseg pipeline file")
    titles = {name: part["title"] for name, part in schema["$defs"].items()}
    assert titles == {
        "budget": "budget",
        "camera": "camera",
        "changed_from": "changed from",
        "clip": "clip",
        "evidence": "evidence",
        "evidence_of_a_camera": "evidence of a camera",
        "gate": "gate",
        "inference_servers": "inference servers",
        "ground": "ground",
        "health": "health",
        "home_assistant": "Home Assistant",
        "mqtt_broker": "MQTT broker",
        "rule": "rule",
        "web_server": "web server",
        "zone": "zone",
    }
    described = [
        (name, key)
        for name, part in {"": schema, **schema["$defs"]}.items()
        for key, value in part["properties"].items()
        if "description" not in value
    ]
    assert described == [], "keys without a help text"
