"""The database that outlives the process: transactions, versions, failing disks, clocks, and what is kept."""

from __future__ import annotations

import contextlib
import logging
import sqlite3
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from edgeseg.clock import ManualClock
from edgeseg.errors import StateError
from edgeseg.publish.mqtt.outbox import Outbox
from edgeseg.rules import AwayMemory, RuleMemory
from edgeseg.rules.serialization import decode, encode, fingerprints
from edgeseg.runtime.camera_memory import BRIDGE_S, restore
from edgeseg.state.node_state import ALIVE_EVERY_S, FILE, CameraStateView, NodeState, Override
from edgeseg.state.schema import SCHEMA_VERSION
from tests.support.rules_fixtures import EPOCH, OCCUPIED, Played, zone_of

HOUR_S = 3600.0


def state(
    folder: Path | None,
    clock: ManualClock | None = None,
    *,
    boot: str = "boot",
    synchronised: bool | None = True,
) -> NodeState:
    return NodeState(
        folder, clock or ManualClock(1000.0, 1000.0), boot=boot, synchronised=lambda: synchronised
    )


def kill(one: NodeState, into: Path) -> Path:
    """The files as SIGKILL would leave them at this moment."""
    into.mkdir()
    assert one._folder is not None
    for file in one._folder.iterdir():
        (into / file.name).write_bytes(file.read_bytes())
    return into


def version_1(path: Path) -> None:
    """An outbox as edgeseg wrote it when it kept nothing else."""
    with contextlib.closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA journal_mode=WAL")
        database.execute(
            "CREATE TABLE waiting (id INTEGER PRIMARY KEY, alert_id TEXT NOT NULL, seq INTEGER NOT NULL,"
            " topic TEXT NOT NULL, payload BLOB NOT NULL, enqueued_at REAL NOT NULL)"
        )
        database.execute("INSERT INTO waiting VALUES (7, 'a', 0, 't/alert', x'7b7d', 990.0)")
        database.execute("PRAGMA user_version=1")
        database.commit()


def test_a_file_of_version_1_is_taken_over_under_its_new_name(tmp_path: Path) -> None:
    version_1(tmp_path / "outbox.sqlite")
    clock = ManualClock(1000.0, 1000.0)
    with state(tmp_path, clock) as one, Outbox(one.database, clock) as outbox:
        waiting = outbox.after(0)
        assert waiting is not None
        assert (waiting.row, waiting.alert_id, waiting.payload) == (7, "a", b"{}")
        assert waiting.age_s == pytest.approx(10.0)
        one.keep("yard", "something")
        assert one.database.read("PRAGMA user_version") == [(SCHEMA_VERSION,)]
    assert not (tmp_path / "outbox.sqlite").exists()
    with state(tmp_path) as one:
        assert one.memories() == {"yard": "something"}


def test_a_file_of_a_newer_version_is_refused_and_stays_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / FILE
    with contextlib.closing(sqlite3.connect(path)) as database:
        database.execute("CREATE TABLE future (wonders TEXT)")
        database.execute(f"PRAGMA user_version={SCHEMA_VERSION + 1}")
        database.commit()
    before = path.read_bytes()
    with pytest.raises(
        StateError, match=rf"state\.sqlite: schema version {SCHEMA_VERSION + 1} is newer.*upgrade"
    ):
        state(tmp_path).open()
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == [FILE]


def test_a_damaged_name_in_the_schema_leaves_memory_to_serve(tmp_path: Path) -> None:
    """sqlite3 stumbles over a column's name that is no text, and not as over other damage."""
    with state(tmp_path) as one:
        one.save_override("yard", Override(enabled=False))
    (file,) = tmp_path.glob("*.sqlite")
    whole = file.read_bytes()
    assert whole.count(b"ended TEXT") == 1
    file.write_bytes(whole.replace(b"ended TEXT", b"en\xe4ed TEXT"))
    with state(tmp_path) as two:
        assert not two.database.durable
        assert two.override("yard") == Override(enabled=False)


def test_what_is_written_together_is_stored_together_or_not_at_all(tmp_path: Path) -> None:
    clock = ManualClock(1000.0, 1000.0)
    with state(tmp_path / "a", clock) as one, Outbox(one.database, clock) as outbox:
        book, woken = CameraStateView(one, "yard"), []

        def killed_in_between() -> None:
            with book.together():
                outbox.append("x", 0, "t", b"{}", lambda: woken.append(1))
                book.keep("on")
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            killed_in_between()
        assert (outbox.after(0), one.memories(), woken) == (None, {}, [])
        with book.together():
            outbox.append("x", 0, "t", b"{}", lambda: woken.append(1))
            assert (outbox.after(0), woken) == (None, [])
            book.keep("on")
        assert outbox.after(0) is not None
        assert (one.memories(), woken) == ({"yard": "on"}, [1])
        killed = kill(one, tmp_path / "b")
    with state(killed, clock) as one:
        assert one.memories() == {"yard": "on"}


def test_what_was_noted_is_older_than_what_is_kept(tmp_path: Path) -> None:
    with state(tmp_path) as one:
        one.note("yard", "off")
        one.keep("yard", "on")
        one.tick()
        assert one.memories() == {"yard": "on"}
        one.note("yard", "off again")
        one.tick()
        assert one.memories() == {"yard": "off again"}


def test_nothing_is_written_while_nothing_happens(tmp_path: Path) -> None:
    clock = ManualClock(1000.0, 1000.0)
    with state(tmp_path, clock) as one:
        wal = tmp_path / f"{FILE}-wal"
        before = wal.stat().st_size
        for _ in range(int(ALIVE_EVERY_S) - 1):
            clock.advance(1.0)
            one.tick()
        assert wal.stat().st_size == before
        clock.advance(1.0)
        one.tick()
        assert before < wal.stat().st_size <= before + 3 * 4200


def test_wishes_are_kept(tmp_path: Path) -> None:
    with state(tmp_path / "a") as one:
        assert one.override("yard") == Override()
        one.save_override("yard", Override(enabled=False, rate_fps=2.5, rate_of_file_fps=5.0))
        killed = kill(one, tmp_path / "b")
    with state(killed) as one:
        assert one.override("yard") == Override(enabled=False, rate_fps=2.5, rate_of_file_fps=5.0)
        one.forget("yard")
        assert one.override("yard") == Override()


def test_how_earlier_lives_ended_is_known(tmp_path: Path) -> None:
    clock = ManualClock(1000.0, 1000.0)
    with state(tmp_path, clock) as one:
        assert (one.past.ended, one.past.restarts, one.past.unplanned) == (None, 0, False)
        one.end("stopped")
    clock.advance(60.0)
    with state(tmp_path, clock) as one:
        assert (one.past.ended, one.past.restarts) == ("stopped", 0)
        assert one.past.down is not None
        assert (one.past.down.duration_s, one.past.down.trusted) == (60.0, True)
        clock.advance(5.0)
        one.tick()
        one.end("stuck: an engine")
        # The main thread goes on ticking until the end.
        clock.advance(ALIVE_EVERY_S)
        one.tick()
    clock.advance(5.0)
    with state(tmp_path, clock) as one:
        assert (one.past.ended, one.past.restarts, one.past.stuck_ago_s) == ("stuck: an engine", 1, (5.0,))
        assert one.past.unplanned
    clock.advance(5.0)
    with state(tmp_path, clock) as one:
        assert (one.past.ended, one.past.restarts) == ("killed", 2)
        one.end("finished")
    clock.advance(25 * HOUR_S)
    with state(tmp_path, clock) as one:
        assert (one.past.ended, one.past.restarts, one.past.stuck_ago_s) == ("finished", 0, ())


_FULL_DISK = """
import logging, resource, signal, sys
from pathlib import Path
from edgeseg.clock import ManualClock
from edgeseg.publish.mqtt.outbox import Outbox
from edgeseg.state.node_state import NodeState
logging.basicConfig(format="%(levelname)s %(message)s")
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
clock = ManualClock(1000.0, 1000.0)
with NodeState(Path(sys.argv[1]), clock) as state, Outbox(state.database, clock) as outbox:
    state.keep("yard", "before")
    outbox.append("a", 0, "t", b"x")
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    with state.together():
        outbox.append("a", 1, "t", b"x")
        state.keep("yard", "on")
    assert not outbox.durable, "the limit was not reached"
    assert state.memories() == {"yard": "on"} and outbox.counts.waiting == 2
    clock.advance(61.0)
    state.tick()
    assert not outbox.durable, "it cannot be well yet"
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    outbox.delete(outbox.after(0).row)
    state.tick()
    assert not outbox.durable, "once a minute is often enough"
    clock.advance(61.0)
    state.tick()
    assert outbox.durable
    outbox.append("a", 2, "t", b"x")
with NodeState(Path(sys.argv[1]), clock) as state, Outbox(state.database, clock) as outbox:
    one = outbox.after(0)
    assert state.memories() == {"yard": "on"} and (one.seq, outbox.counts.waiting) == (1, 2)
"""


def test_a_full_disk_is_replaced_by_memory_and_taken_again_when_it_is_well(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _FULL_DISK, str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    lines = [line for line in done.stderr.splitlines() if line.startswith("WARNING")]
    assert len(lines) == 2, done.stderr
    assert "wait in memory" in lines[0]
    assert "on disk again" in lines[1]


def test_drops_are_still_told_after_a_restart(tmp_path: Path) -> None:
    clock = ManualClock(1000.0, 1000.0)
    for expected in (2, 4):
        with state(tmp_path, clock) as one, Outbox(one.database, clock, capacity=1) as outbox:
            for seq in range(3 if expected == 2 else 2):
                outbox.append("a", seq, "t", b"x")
            assert outbox.counts.overflowed == expected


def kept(clock: ManualClock, boot: str, seen: float, prints: dict[tuple[str, str], str]) -> str:
    """A rule whose condition has held for 4 s of 10, noted now."""
    played = Played(replace(OCCUPIED, for_s=10.0), [])
    now_s = clock.monotonic_s()
    played.feed([(now_s - 4.0, seen), (now_s, seen)], clock.utc_s() - EPOCH - now_s)
    return encode({"bay": played.rules.memory}, AwayMemory(), prints, boot, now_s, clock.utc_s())


@pytest.mark.parametrize(
    ("boot", "synchronised", "utc_step_s", "dwell_s", "bridged"),
    [
        # The same start of the machine: its monotonic clock knows, whatever happens to UTC.
        ("boot", True, 20.0, 24.0, True),
        ("boot", False, -HOUR_S, 24.0, True),
        ("boot", False, 10 * HOUR_S, 24.0, True),
        # Another one: UTC has to tell.
        ("another", True, 20.0, 24.0, True),
        ("another", None, 20.0, 24.0, True),
        ("another", True, HOUR_S, HOUR_S + 4.0, False),
        ("another", False, 20.0, 24.0, False),
        ("another", True, -HOUR_S, 4.0, False),
    ],
)
def test_time_without_edgeseg_counts_as_far_as_a_clock_can_tell(
    boot: str, synchronised: bool | None, utc_step_s: float, dwell_s: float, bridged: bool, tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    prints = {("bay", "blocked"): "same"}
    text = kept(ManualClock(EPOCH, 5000.0), "boot", 0.9, prints)
    # 20 s later; or the machine was started 7 s ago.
    clock = ManualClock(EPOCH + utc_step_s, 5020.0 if boot == "boot" else 7.0)
    with state(tmp_path, clock, boot=boot, synchronised=synchronised) as one:
        past = restore(one, "yard", text, prints)
    memory = past.memories["bay"]["blocked"]
    assert memory.beginning is not None
    since = memory.beginning.since
    assert clock.monotonic_s() - since.camera_time_s == pytest.approx(dwell_s)
    assert since.captured_at_s == pytest.approx(EPOCH - 4.0)
    if past.bridge_until_s is None:
        assert not bridged
        assert "no clock tells for how long" in caplog.text
    else:
        assert (past.bridge_until_s > clock.monotonic_s()) == bridged
        assert past.bridge_until_s == pytest.approx(clock.monotonic_s() - (dwell_s - 4.0) + BRIDGE_S)
        assert not caplog.records


def test_what_was_on_in_a_rule_that_is_gone_ends_with_its_reason(tmp_path: Path) -> None:
    played = Played(OCCUPIED, [(float(t), 0.9) for t in range(4)])
    (new,) = played.alerts
    prints = {("bay", "blocked"): "before"}
    text = encode({"bay": played.rules.memory}, AwayMemory(), prints, "boot", 3.0, EPOCH + 3.0)
    with state(tmp_path, ManualClock(EPOCH + 10.0, 10.0)) as one:
        assert restore(one, "yard", text, prints).ends == ()
        for now in ({("bay", "blocked"): "after"}, {}, None):
            (end,) = restore(one, "yard", text, now).ends
            assert (end.id, end.seq, end.event, end.end_reason) == (new.id, 1, "end", "config")
            assert end.at_s == EPOCH + 10.0


def test_what_cannot_be_read_is_said_and_begins_anew(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with state(tmp_path) as one:
        for text in ("", "{}", '{"rules": 1}', "[" * 10_000):
            assert restore(one, "yard", text, {}).memories == {}
    assert [record.levelno for record in caplog.records] == [logging.ERROR] * 4


def test_what_a_later_edgeseg_added_is_passed_over_and_what_it_left_out_has_its_default() -> None:
    text = encode({"bay": {"blocked": RuleMemory()}}, AwayMemory(), {("bay", "blocked"): "x"}, "b", 1.0, 2.0)
    other = text.replace('"away"', '"beyond":1,"away"').replace('"trace":', '"ignored":')
    assert other != text
    assert decode(other).rules == decode(text).rules


def test_a_fingerprint_tells_what_gives_a_memory_its_meaning() -> None:
    zone = zone_of(OCCUPIED)
    before = fingerprints((zone,), ("road", "car"))
    assert fingerprints((replace(zone, title="Another"),), ("road", "car")) == before
    for changed in (
        fingerprints((zone,), ("car", "road")),
        fingerprints((replace(zone, confidence_floor=0.5),), ("road", "car")),
        fingerprints((zone_of(replace(OCCUPIED, enter=0.6)),), ("road", "car")),
    ):
        assert changed.keys() == before.keys()
        assert changed != before
