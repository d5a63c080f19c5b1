"""``edgeseg schema`` describes what is published, and nothing else passes."""

from __future__ import annotations

import argparse
import json
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError

from edgeseg.clock import ManualClock
from edgeseg.commands import schema
from edgeseg.publish.jsonl import line
from edgeseg.publish.topics import TABLE, Topics
from tests.support.publish_events import NOON_S, one_of_each


def printed(what: str, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    root = argparse.ArgumentParser()
    schema.add_parser(root.add_subparsers())
    args = root.parse_args(["schema", what])
    assert args.run(args) == 0
    found = json.loads(capsys.readouterr().out)
    assert isinstance(found, dict)
    Draft202012Validator.check_schema(found)
    return found


def lines() -> list[dict[str, Any]]:
    topics = Topics("site/edgeseg", "gatehouse", boot="b1", clock=ManualClock(utc_s=NOON_S))
    messages = [topics.status("online")]
    for event in one_of_each():
        messages += topics.messages(event)
    return [json.loads(line(message)) for message in messages]


def test_every_message_is_described_by_the_row_of_its_topic(capsys: pytest.CaptureFixture[str]) -> None:
    found = printed("mqtt", capsys)
    validator = Draft202012Validator(found)
    rows = {row["title"]: Draft202012Validator({**row, "$defs": found["$defs"]}) for row in found["anyOf"]}
    assert len(rows) == len(TABLE)
    used = set()
    for one in lines():
        validator.validate(one)
        used |= {title for title, row in rows.items() if row.is_valid(one)}
    assert used == set(rows), "a topic has no example"


@pytest.mark.parametrize(
    "change",
    [
        {"topic": "edgeseg/gatehouse/elsewhere"},
        {"qos": 2},
        {"retain": None},
        {"payload": {}},
        {"payload": "offline "},
        {"more": 1},
    ],
)
def test_a_message_that_is_not_ours_is_refused(
    change: dict[str, object], capsys: pytest.CaptureFixture[str]
) -> None:
    validator = Draft202012Validator(printed("mqtt", capsys))
    for one in lines():
        if "payload" in change and one["topic"].endswith(("/snapshot", "/evidence")):
            continue
        with pytest.raises(ValidationError):
            validator.validate({**one, **change})


def test_a_payload_with_a_missing_or_unknown_key_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    validator = Draft202012Validator(printed("mqtt", capsys))
    objects = [one for one in lines() if isinstance(one["payload"], dict) and "v" in one["payload"]]
    assert len({one["topic"] for one in objects}) == 4
    for one in objects:
        for key in one["payload"]:
            less = {name: value for name, value in one["payload"].items() if name != key}
            assert not validator.is_valid({**one, "payload": less}), key
        assert not validator.is_valid({**one, "payload": {**one["payload"], "extra": 1}})


@pytest.mark.parametrize("what", ["pipeline", "model"])
def test_files_have_a_schema(what: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert printed(what, capsys)["properties"]


def test_command_outputs_are_collected(capsys: pytest.CaptureFixture[str]) -> None:
    for command, output in printed("cli", capsys)["properties"].items():
        assert output, command
        Draft202012Validator.check_schema(output)
