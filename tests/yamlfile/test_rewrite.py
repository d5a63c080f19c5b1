"""A zone is written into a file that people wrote: nothing else in it changes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeseg.yamlfile import parse
from edgeseg.yamlfile.rewrite import RewriteError, with_mapping, write_file
from tests.support.examples import examples

YARD = """\
# The yard of the gatehouse.
node: gatehouse   # who
cameras:
  yard:    # behind the house
    source: rtsp://viewer:${P}@10.0.0.5/stream2    # from the environment
    zones:
      # where lorries stand
      bay:
        name: Loading bay           # what people see
        polygon: [[0.10, 0.50], [0.60,   0.50], [0.70, 1.00]]   # drawn in May
        exclude:
          - [0.30, 0.80]
          - [0.40, 0.80]
          - [0.40, 0.90]
        rules:
          # the fire brigade insists
          blocked: {occupied: [vehicle],  enter: 20 %}   # not less

      # the door
      door:
        polygon: [[0,0],[1,0],[1,1]]
  gate:
    source: x.mp4
# the end
"""
BAY = ("cameras", "yard", "zones", "bay")


def bay() -> dict[str, Any]:
    data, _ = parse(YARD, "")
    assert isinstance(data, dict)
    found = data["cameras"]["yard"]["zones"]["bay"]
    assert isinstance(found, dict)
    return found


def changes(after: str) -> tuple[list[str], list[str]]:
    """Lines that went, lines that came."""
    old, new = YARD.splitlines(), after.splitlines()
    return [line for line in old if line not in new], [line for line in new if line not in old]


def test_a_polygon_changes_one_line_and_keeps_its_comment() -> None:
    zone = {**bay(), "polygon": [[0.1, 0.5], [0.61, 0.5], [0.7, 1.0], [0.2, 0.9]]}
    went, (came,) = changes(with_mapping(YARD, BAY, zone))
    assert went == ["        polygon: [[0.10, 0.50], [0.60,   0.50], [0.70, 1.00]]   # drawn in May"]
    assert came.startswith("        polygon: [[0.1, 0.5], [0.61, 0.5], [0.7, 1.0], [0.2, 0.9]]")
    assert came.endswith("# drawn in May")


def test_a_new_zone_comes_after_the_others() -> None:
    rules = {"night": {"absent": ["person"], "hours": "22:00-06:00", "for": "5 min"}}
    zone = {"polygon": [[0, 0], [1, 0], [1, 1]], "rules": rules}
    went, came = changes(with_mapping(YARD, (*BAY[:3], "new"), zone))
    assert went == []
    assert came == [
        "      new:",
        "        polygon: [[0, 0], [1, 0], [1, 1]]",
        '          night: {absent: [person], hours: "22:00-06:00", for: 5 min}',
    ]


def test_a_camera_without_zones_gets_them() -> None:
    made = with_mapping(YARD, ("cameras", "gate", "zones", "new"), {"polygon": [[0, 0], [1, 0], [1, 1]]})
    assert made.endswith(
        "    source: x.mp4\n    zones:\n      new:\n        polygon: [[0, 0], [1, 0], [1, 1]]\n# the end\n"
    )


def test_a_zone_goes_and_the_last_one_takes_its_key_along() -> None:
    without = with_mapping(YARD, BAY, None)
    assert "bay:" not in without
    assert "# where lorries stand" in without
    none = with_mapping(without, (*BAY[:3], "door"), None)
    assert "zones" not in none
    assert parse(none, "")[0]["cameras"]["yard"] == {"source": "rtsp://viewer:${P}@10.0.0.5/stream2"}  # type: ignore[index]


@pytest.mark.parametrize(
    "text",
    [
        "cameras: {yard: {source: a.mp4, zones: {bay: {polygon: [[0,0],[1,0],[1,1]]}}}} # flow\n",
        "square: &square [[0,0],[1,0],[1,1]]\ncameras:\n  yard:\n    zones:\n      bay:\n"
        "        polygon: *square   # as above\n      door: {polygon: *square}\n",
        "cameras:\r\n  yard:\r\n    zones:\r\n      bay: {polygon: [[0,0],[1,0],[1,1]]}  # dos\r\n",
        "cameras:\n    yard:\n        zones:\n            bay:\n                polygon: [[0,0],[1,0],[1,1]]",
        "cameras:\n  yard:\n    zones:\n      bay:\n        name: |\n          # no comment\n          Bay\n"
        "        polygon: [[0,0],\n          [1,0], # right\n          [1,1]]\n",
    ],
    ids=["flow", "alias", "crlf", "wide", "many lines"],
)
def test_other_ways_to_write_a_file(text: str) -> None:
    zone = {"polygon": [[0, 0], [0.5, 0], [1, 1]], "name": 'Bay: the "big" one # 2'}
    made = with_mapping(text, BAY, zone)
    data: Any = parse(made, "")[0]
    assert data["cameras"]["yard"]["zones"]["bay"] == zone
    for comment in ("# flow", "# dos", "# as above"):
        assert (comment in made) == (comment in text) or comment == "# as above"
    assert made.count("\r\n") == (made.count("\n") if "\r\n" in text else 0)
    if "square" in text:
        assert data["cameras"]["yard"]["zones"]["door"]["polygon"] == [[0, 0], [1, 0], [1, 1]]


def test_what_only_a_person_can_change_is_refused() -> None:
    merged = "base: &base {zones: {bay: {name: A}}}\ncameras: {yard: {<<: *base, source: a}}\n"
    with pytest.raises(RewriteError, match="only a person"):
        with_mapping(merged, BAY, {"name": "B"})


numbers = st.one_of(st.integers(0, 1), st.floats(0, 1).map(lambda value: round(value, 4)))
texts = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), min_size=1, max_size=12)
zones = st.fixed_dictionaries(
    {"polygon": st.lists(st.lists(numbers, min_size=2, max_size=2), min_size=3, max_size=6)},
    optional={
        "name": texts,
        "confidence": st.integers(0, 100).map("{} %".format),
        "rules": st.dictionaries(
            st.from_regex("[a-z0-9_-]{1,8}", fullmatch=True),
            st.fixed_dictionaries({"occupied": st.lists(texts, min_size=1, max_size=2), "for": texts}),
            min_size=1,
            max_size=2,
        ),
    },
)


@settings(max_examples=examples(20), deadline=None)
@given(zones, st.sampled_from(["bay", "door", "new", "0123", "on"]))
def test_whatever_a_zone_holds_the_rest_stays_and_it_means_what_was_meant(
    zone: dict[str, Any], name: str
) -> None:
    made = with_mapping(YARD, (*BAY[:3], name), zone)
    data: Any = parse(made, "")[0]
    assert data["cameras"]["yard"]["zones"][name] == zone
    lines = made.splitlines()
    for line in YARD.splitlines():
        if "#" in line and "polygon" not in line and name != "bay":
            assert line in lines


def test_a_file_is_replaced_whole_with_its_mode_and_the_version_before_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "yard.yaml"
    path.write_text("first\n")
    path.chmod(0o640)
    link = tmp_path / "link.yaml"
    link.symlink_to(path)
    assert write_file(link, "second\n") == tmp_path / "yard.yaml.bak"
    assert write_file(link, "third\n").read_text() == "second\n"
    assert path.read_text() == "third\n"
    assert link.is_symlink()
    assert path.stat().st_mode & 0o777 == 0o640
    assert sorted(one.name for one in tmp_path.iterdir()) == ["link.yaml", "yard.yaml", "yard.yaml.bak"]


def test_a_folder_that_takes_nothing_leaves_the_file(tmp_path: Path) -> None:
    path = tmp_path / ("y" * 250)
    path.write_text("first\n")
    with pytest.raises(OSError, match="too long"):
        write_file(path, "second\n")
    assert path.read_text() == "first\n"
    assert list(tmp_path.iterdir()) == [path]
