"""``edgeseg fleet capacity``: counted by hand, and held against sums of the drawn cameras."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgeseg.cli import main
from edgeseg.clock import iso_utc
from edgeseg.errors import EdgesegError
from edgeseg.tools.fleet.capacity import Assumed, most_cameras, simulate
from edgeseg.tools.fleet.message_cost import MessageCost, count_messages
from tests.conftest import missing


def line(topic: str, payload: Any, qos: int = 0, retain: bool = True) -> str:
    return json.dumps({"topic": topic, "qos": qos, "retain": retain, "payload": payload})


def spoken(seconds: int = 20, *, every_s: int = 2) -> list[str]:
    """An occupancy every second, a class every other one, an alert at the end."""
    lines = [line("e/n/status", "online", 1)]
    for second in range(seconds + 1):
        lines.append(line("e/n/c/zone/z/occupancy", {"captured_at": iso_utc(second + 0.5), "seq": second}))
        if second % every_s == 0:
            lines.append(line("e/n/c/zone/z/class/car", "12.5"))
    lines.insert(-3, line("e/n/alert", {"at": iso_utc(seconds - 1.0), "event": "new"}, 1, False))
    return lines


def test_what_one_camera_says_is_counted_by_the_second() -> None:
    one = count_messages("spoken", spoken())
    assert one.seconds == 19
    assert one.messages.sum() == 19 + 9 + 1
    assert set(one.messages) == {1.0, 2.0}
    assert (one.alerts, one.retained) == (1, 3)
    # Of the fixed header, the topic's length and the properties (MQTT 5, 3.3).
    topic, payload = "e/n/c/zone/z/occupancy", f'{{"captured_at":"{iso_utc(1.5)}","seq":1}}'
    assert one.bytes[0] == len(topic) + len(payload) + 6
    assert one.kinds == {"occupancy": 21, "class": 11, "alert": 1}


def test_what_is_no_recording_of_messages_is_said() -> None:
    for lines, words in ((["{}"], "no message as JSON"), (spoken(3), "less than 10 seconds")):
        with pytest.raises(EdgesegError, match=words):
            count_messages("file", lines)


def test_the_sum_is_that_of_cameras_that_begin_anywhere() -> None:
    series = np.array([5.0, 0, 0, 0, 0, 0, 0, 0, 0, 1])
    one = MessageCost("one", series, 100 * series, 0, 3, 300, {})
    alone = simulate([one], 1, Assumed(), seconds=10)
    # One camera from somewhere on, and its node's stats within the first minute.
    assert sorted(alone.messages)[-2] >= 1
    assert any(np.allclose(np.roll(series, -shift), alone.messages, atol=1.01) for shift in range(10))
    many = simulate([one], 100_000, Assumed(), seconds=600)
    assert many.messages.mean() == pytest.approx(60_000 + 25_000 / 60, rel=0.001)
    # Independent cameras: the spread grows with the root of their number (here the variance of one is 2.24).
    assert many.messages.std() < 5 * np.sqrt(100_000 * series.var())
    assert many.peak < 1.05 * many.messages.mean()
    assert many.retained == 3 * 100_000 + 2 * 25_000


def test_the_limit_is_where_the_core_is_busy() -> None:
    one = MessageCost("one", np.full(20, 10.0), np.full(20, 1000.0), 0, 3, 300, {})
    assumed = Assumed(core_per_message_s=1e-5)
    cameras = round(most_cameras([one], assumed))
    assert simulate([one], cameras, assumed).busy_cores == pytest.approx(0.7, rel=0.01)


def test_the_command_with_a_real_broker(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    if shutil.which("mosquitto") is None and shutil.which("mosquitto", path="/usr/sbin") is None:
        missing("mosquitto")
    file, plot = tmp_path / "yard.jsonl", tmp_path / "capacity.png"
    file.write_text("\n".join(spoken()))
    assert main(["fleet", "capacity", str(file), "--cameras", "10", "1000", "--plot", str(plot)]) == 0
    said = capsys.readouterr().out
    assert "us of one core for a message of 300 bytes" in said
    assert "messages a second, mean" in said
    assert plot.stat().st_size > 10_000
    assert main(["fleet", "capacity", str(tmp_path / "none.jsonl")]) == 2
    assert "No such file" in capsys.readouterr().err
