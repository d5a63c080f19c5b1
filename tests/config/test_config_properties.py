"""Whatever stands in a pipeline file, the answer is settings or a ConfigError that says where."""

from __future__ import annotations

from math import cos, pi, sin
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from edgeseg import config
from edgeseg.config import geometry, units
from edgeseg.config.geometry import covers
from edgeseg.errors import ConfigError, Problem
from tests.support.examples import examples

FILE = Path("any.yaml")


@pytest.fixture(scope="module", autouse=True)
def _in_an_empty_folder(tmp_path_factory: pytest.TempPathFactory) -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("pipelines"))
        yield


def load_or_refuse(raw: bytes) -> None:
    FILE.write_bytes(raw)
    cameras: int
    problems: tuple[Problem, ...] = ()
    try:
        cameras = len(config.load(FILE).cameras)
    except ConfigError as error:
        cameras, problems = 0, error.problems
    assert bool(cameras) != bool(problems)
    for problem in problems:
        assert "\n" not in str(problem)
        assert problem.line >= 0


@given(st.binary(max_size=200))
def test_any_bytes(raw: bytes) -> None:
    load_or_refuse(raw)


@given(st.text(alphabet=st.sampled_from("{}[]:-?!&*|>%@`'\"\\#, \n\t~ab01.e<"), max_size=60))
def test_any_punctuation(text: str) -> None:
    load_or_refuse(text.encode())


SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=12),
    st.sampled_from(
        [
            "10 s", "20 %", "car", "person", "vehicle", "dominant", "22:00-06:00", "Europe/Rome", "auto",
            "513x513", "rtsp://u:p@h/s", "${A}", "mqtt://h", "yard", "deeplabv3-mnv2-pascal", "hold", "../..",
        ]
    ),
)  # fmt: skip
NUMBERS = st.one_of(st.floats(0, 1), st.sampled_from([0, 1, 0.5, -1, 2]))
POLYGONS = st.lists(st.lists(NUMBERS, min_size=2, max_size=2), max_size=6)
ANYTHING = st.recursive(
    st.one_of(SCALARS, POLYGONS),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=6), inner, max_size=3)
    ),
    max_leaves=6,
)


def some_of(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """A mapping with any of these keys, each with what belongs there or with anything at all."""
    keys = {key.rstrip("_"): st.one_of(value, value, ANYTHING) for key, value in fields.items()}
    return st.fixed_dictionaries({}, optional=keys)


WORDS = st.lists(st.sampled_from(["car", "bus", "person", "vehicle", "road"]), min_size=1, max_size=3)
SHARE = st.integers(0, 100).map(lambda percent: f"{percent} %")
SECONDS = st.integers(0, 3600).map(lambda seconds: f"{seconds} s")
RULES = some_of(
    occupied=WORDS,
    changed=st.one_of(st.just("dominant"), some_of(from_=WORDS)),
    absent=WORDS,
    reference=st.sampled_from(["car", "road"]),
    enter=SHARE,
    leave=SHARE,
    for_=SECONDS,
    clear=SECONDS,
    cooldown=SECONDS,
    hours=st.just("22:00-06:00"),
    timezone=st.just("UTC"),
    on_unknown=st.sampled_from(["hold", "end", "raise"]),
)
NAMES = st.one_of(st.sampled_from(["a", "b-1", "Ä"]), st.text(max_size=4))
ZONES = some_of(
    name=st.text(max_size=8),
    polygon=POLYGONS,
    exclude=st.lists(POLYGONS, max_size=2),
    confidence=SHARE,
    rules=st.dictionaries(NAMES, RULES, max_size=2),
)
CAMERAS = some_of(
    source=st.sampled_from(["rtsp://u:p@h/s", "a.mp4", "rtsp://u:${P}@h/"]),
    rate=st.floats(0, 100),
    fit=st.sampled_from(["stretch", "tiles"]),
    priority=st.integers(-1, 200),
    max_age=SECONDS,
    model=st.sampled_from(["deeplab-mnv2-cityscapes", "no-such"]),
    engine=st.sampled_from(["auto", "litert", "cuda"]),
    input=st.just("513x513"),
    gate=ANYTHING,
    zones=st.dictionaries(NAMES, ZONES, max_size=2),
)
FILES = some_of(
    node=NAMES,
    mqtt=some_of(url=st.sampled_from(["mqtt://h", "mqtts://h:1"]), username=SCALARS, password_file=SCALARS),
    model=st.sampled_from(["deeplabv3-mnv2-pascal", "no-such"]),
    engine=st.sampled_from(["auto", "onnxruntime"]),
    input=st.just("513x513"),
    groups=st.dictionaries(NAMES, WORDS, max_size=2),
    web=ANYTHING,
    cameras=st.dictionaries(NAMES, CAMERAS, max_size=2),
)


@given(FILES)
@example({"mqtt": {"\n": None}})
@settings(max_examples=examples(150), deadline=None)
def test_any_mixture_of_right_and_wrong(document: dict[str, Any]) -> None:
    load_or_refuse(yaml.safe_dump(document, allow_unicode=True).encode("utf-8", "surrogatepass"))


@given(st.integers(0, 30 * 86400 * 1000))
def test_durations_survive_a_round_trip(milliseconds: int) -> None:
    seconds = milliseconds / 1000
    assert units.duration_s(units.duration_text(seconds)) == seconds


@given(st.integers(0, 100_000))
def test_shares_survive_a_round_trip(thousandths: int) -> None:
    share = thousandths / 100_000
    assert units.share(units.share_text(share)) == share


@given(ANYTHING)
def test_a_quantity_is_understood_or_refused_in_words(value: object) -> None:
    for read in (units.duration_s, units.share, units.size_px, units.hours_min):
        try:
            read(value)
        except ValueError as error:
            assert str(error).startswith("got ")  # noqa: PT017 - most values raise, some do not


@given(st.integers(3, 12), st.floats(0, 1), st.randoms(use_true_random=False))
def test_a_star_shaped_outline_never_crosses_itself(count: int, turn: float, random: Any) -> None:
    # Around a centre by ascending angle, at any distance: the textbook simple polygon.
    points = []
    for index in range(count):
        angle = (index + turn) * 2 * pi / count
        radius = 0.1 + 0.39 * random.random()
        points.append([0.5 + radius * cos(angle), 0.5 + radius * sin(angle)])
    polygons, flaws = geometry.read_polygons(points)
    assert flaws == []
    assert covers(1e-5, polygons, ())
    # Swapping two neighbours of four or more crosses their edges, unless the four lie so that it does not;
    # a quadrilateral in convex position always crosses.
    square = [[0.1, 0.1], [0.9, 0.1], [0.9, 0.9], [0.1, 0.9]]
    first = random.randrange(4)
    second = (first + 1) % 4
    square[first], square[second] = square[second], square[first]
    assert "crosses itself" in geometry.read_polygons(square)[1][0].message
