"""Alerts on disk: order, bounds, damage, and what survives."""

from __future__ import annotations

import contextlib
import logging
import os
import resource
import signal
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from edgeseg.clock import ManualClock
from edgeseg.errors import StateError
from edgeseg.publish.mqtt.outbox import Outbox
from edgeseg.state.database import open_file
from edgeseg.state.schema import SCHEMA_VERSION

DAY_S = 86_400.0


def outbox(path: Path | None, clock: ManualClock | None = None, *, capacity: int = 100) -> Outbox:
    return Outbox(path, clock or ManualClock(utc_s=1000.0), ttl_s=DAY_S, capacity=capacity)


def fill(box: Outbox, count: int, *, first: int = 0) -> list[int]:
    rows = []
    for seq in range(first, first + count):
        box.append("a", seq, "t/alert", f"payload {seq}".encode())
        rows.append(box.last_row)
    return rows


def waiting(box: Outbox) -> list[int]:
    found, row = [], 0
    while one := box.after(row):
        assert one.payload == f"payload {one.seq}".encode()
        found.append(one.seq)
        row = one.row
    return found


def test_rows_come_back_in_order_after_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "outbox.sqlite"
    with outbox(path) as box:
        assert box.durable
        rows = fill(box, 5)
        box.delete(rows[1])
        assert waiting(box) == [0, 2, 3, 4]
    with outbox(path) as box:
        assert waiting(box) == [0, 2, 3, 4]
        fill(box, 1, first=5)
        assert waiting(box) == [0, 2, 3, 4, 5]
        assert box.counts.waiting == 5


def test_the_settings_that_make_it_survive_a_power_cut(tmp_path: Path) -> None:
    # The level is a property of the connection: another one would not tell.
    with contextlib.closing(open_file(tmp_path / "o.sqlite")) as database:
        assert database.execute("PRAGMA synchronous").fetchone() == (2,)
        assert database.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_the_oldest_are_dropped_and_counted_beyond_the_capacity(tmp_path: Path) -> None:
    with outbox(tmp_path / "o.sqlite", capacity=3) as box:
        fill(box, 5)
        assert waiting(box) == [2, 3, 4]
        assert (box.counts.overflowed, box.counts.dropped) == (2, 2)


def test_old_alerts_expire_and_are_counted(tmp_path: Path) -> None:
    clock = ManualClock(utc_s=1000.0)
    with outbox(tmp_path / "o.sqlite", clock) as box:
        fill(box, 2)
        clock.advance(DAY_S / 2)
        fill(box, 1, first=2)
        clock.advance(DAY_S / 2)
        assert waiting(box) == [2]
        assert box.counts.expired == 2


def test_age_goes_on_across_a_restart(tmp_path: Path) -> None:
    with outbox(tmp_path / "o.sqlite", ManualClock(utc_s=1000.0)) as box:
        fill(box, 1)
    with outbox(tmp_path / "o.sqlite", ManualClock(utc_s=1000.0 + DAY_S + 1)) as box:
        assert waiting(box) == []
        assert box.counts.expired == 1


def test_a_clock_that_ntp_sets_after_boot_expires_nothing(tmp_path: Path) -> None:
    class Jumping(ManualClock):
        jump_s = 0.0

        def utc_s(self) -> float:
            return super().utc_s() + self.jump_s

    with outbox(tmp_path / "o.sqlite", ManualClock(utc_s=1.7e9)) as box:
        fill(box, 1)
    clock = Jumping(utc_s=0.0)
    with outbox(tmp_path / "o.sqlite", clock) as box:
        fill(box, 1, first=1)
        clock.jump_s = 1.8e9
        assert waiting(box) == [0, 1]


def test_rejected_rows_are_counted_once() -> None:
    with outbox(None) as box:
        (row,) = fill(box, 1)
        box.reject(row)
        box.reject(row)
        box.delete(row)
        assert (box.counts.rejected, box.counts.waiting) == (1, 0)


def test_a_newer_schema_is_refused_in_words(tmp_path: Path) -> None:
    path = tmp_path / "o.sqlite"
    with sqlite3.connect(path) as database:
        database.execute(f"PRAGMA user_version={SCHEMA_VERSION + 1}")
    database.close()
    with pytest.raises(StateError, match=r"o\.sqlite: schema version \d+ is newer than \d+.*upgrade edgeseg"):
        outbox(path).open()


def not_a_database(path: Path) -> None:
    path.write_bytes(b"these are not the bytes of a database" * 100)


def torn(path: Path) -> None:
    with outbox(path, capacity=1000) as box:
        fill(box, 500)
    content = bytearray(path.read_bytes())
    assert len(content) > 3 * 4096
    content[4096 : 2 * 4096] = b"\xa5" * 4096
    path.write_bytes(content)


def folder_is_a_file(path: Path) -> None:
    path.parent.rmdir()
    path.parent.write_text("in the way")


def already_in_use(path: Path) -> None:
    already_in_use.owner = outbox(path)  # type: ignore[attr-defined]
    already_in_use.owner.open()  # type: ignore[attr-defined]


def torn_with_a_log(path: Path) -> None:
    torn(path)
    path.with_name("outbox.sqlite-wal").write_bytes(b"stale")


@pytest.mark.parametrize("spoil", [not_a_database, torn, torn_with_a_log])
def test_a_damaged_database_is_set_aside_and_a_new_one_begins(
    spoil: Callable[[Path], None], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "outbox.sqlite"
    spoil(path)
    damaged = path.read_bytes()
    with outbox(path) as box:
        assert box.durable
        fill(box, 3)
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert "set aside as outbox.sqlite.damaged-1, a new one begins" in record.message
    assert str(path) in record.message
    assert (tmp_path / "outbox.sqlite.damaged-1").read_bytes() == damaged
    assert not path.with_name("outbox.sqlite-wal").exists()
    caplog.clear()
    with outbox(path) as box:
        assert waiting(box) == [0, 1, 2]
    assert not caplog.records


def test_the_newest_two_damaged_databases_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "outbox.sqlite"
    for number in range(4):
        path.write_bytes(f"not a database, number {number}".encode() * 100)
        with outbox(path) as box:
            assert box.durable
    assert sorted(one.name for one in tmp_path.iterdir()) == [
        "outbox.sqlite",
        "outbox.sqlite.damaged-1",
        "outbox.sqlite.damaged-2",
    ]
    assert b"number 3" in (tmp_path / "outbox.sqlite.damaged-1").read_bytes()
    assert b"number 2" in (tmp_path / "outbox.sqlite.damaged-2").read_bytes()


_AS_NOBODY = """
import logging, os, sys
from pathlib import Path
from edgeseg.clock import SystemClock
from edgeseg.publish.mqtt.outbox import Outbox
logging.basicConfig(format="%(message)s")
if os.getuid() == 0:
    os.setuid(65534)
with Outbox(Path(sys.argv[1]), SystemClock()) as box:
    assert not box.durable
    box.append("a", 0, "t", b"x")
    assert box.counts.waiting == 1
"""


@pytest.mark.parametrize("what", ["folder", "folder to be made", "file", "damaged"])
def test_a_missing_permission_is_called_that(what: str) -> None:
    # Not tmp_path, whose parents are closed to the user that root becomes here.
    with tempfile.TemporaryDirectory() as base:
        Path(base).chmod(0o755)
        folder = Path(base) / "state"
        folder.mkdir()
        path = folder / "yard" / "o.sqlite" if what == "folder to be made" else folder / "o.sqlite"
        if what == "file":
            with outbox(path):
                pass
            path.chmod(0o444)
        if what == "damaged":
            not_a_database(path)
            path.chmod(0o644)
        folder.chmod(0o777 if what == "file" else 0o555)
        done = subprocess.run(
            [sys.executable, "-c", _AS_NOBODY, str(path)],
            capture_output=True,
            text=True,
            timeout=280,
            check=False,
        )
        folder.chmod(0o755)
    assert done.returncode == 0, done.stderr
    (line,) = done.stderr.splitlines()
    place, mode = (path, "-r--r--r--") if what == "file" else (folder, "dr-xr-xr-x")
    assert f"{place} belongs to uid {os.getuid()}, gid" in line
    assert f"with mode {mode}, and edgeseg runs as uid {os.getuid() or 65534}" in line
    assert "Check the disk" not in line


@pytest.mark.parametrize("spoil", [folder_is_a_file, already_in_use])
def test_an_unusable_database_degrades_to_memory_and_says_so(
    spoil: Callable[[Path], None], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "state" / "outbox.sqlite"
    path.parent.mkdir()
    spoil(path)
    with outbox(path) as box:
        assert not box.durable
        fill(box, 3)
        assert waiting(box) == [0, 1, 2]
    assert "wait in memory" in caplog.text
    assert str(path) in caplog.text
    if spoil is folder_is_a_file:
        assert f"{path.parent} is no folder" in caplog.text
    if spoil is already_in_use:
        assert "Another process has the file open" in caplog.text
        already_in_use.owner.close()  # type: ignore[attr-defined]


_FULL_DISK = """
import logging, resource, signal, sys
from pathlib import Path
from edgeseg.clock import SystemClock
from edgeseg.publish.mqtt.outbox import Outbox
logging.basicConfig(format="%(message)s")
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
with Outbox(Path(sys.argv[1]), SystemClock(), ttl_s=3600.0, capacity=10_000) as box:
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
    for seq in range(400):
        box.append("a", seq, "t", b"x" * 1000)
    assert not box.durable, "the limit was not reached"
    row, found = 0, []
    while one := box.after(row):
        found.append(one.seq)
        row = one.row
    assert found == list(range(400)), found
    box.delete(row)
    assert box.counts.waiting == 399
"""


def test_a_disk_that_fills_up_loses_nothing_in_this_process(tmp_path: Path) -> None:
    assert hasattr(resource, "RLIMIT_FSIZE")
    done = subprocess.run(
        [sys.executable, "-c", _FULL_DISK, str(tmp_path / "o.sqlite")],
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("wait in memory") == 1


_DISK_FULL_AT_DELETE = """
import logging, resource, signal, sys
from pathlib import Path
from edgeseg.clock import SystemClock
from edgeseg.publish.mqtt.outbox import Outbox
logging.basicConfig(format="%(message)s")
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
path = Path(sys.argv[1])
with Outbox(path, SystemClock(), capacity=4) as box:
    rows = []
    for seq in range(4):
        box.append("a", seq, "t", b"x")
        rows.append(box.last_row)
    full = path.with_name(path.name + "-wal").stat().st_size
    resource.setrlimit(resource.RLIMIT_FSIZE, (full, full))
    if sys.argv[2] == "delete":
        box.delete(rows[0])
    elif sys.argv[2] == "reject":
        box.reject(rows[0])
    else:
        box.append("a", 4, "t", b"x")
    assert not box.durable, "the limit was not reached"
    row, found = 0, []
    while one := box.after(row):
        found.append(one.seq)
        row = one.row
    print(*found, box.counts.waiting, box.counts.dropped)
"""


@pytest.mark.parametrize(
    ("what", "found"), [("delete", "1 2 3 3 0"), ("reject", "1 2 3 3 1"), ("overflow", "1 2 3 4 4 1")]
)
def test_what_a_full_disk_did_not_let_go_is_gone_all_the_same(what: str, found: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _DISK_FULL_AT_DELETE, str(tmp_path / "o.sqlite"), what],
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == found


def test_what_a_failing_disk_does_not_give_back_is_counted(tmp_path: Path) -> None:
    path = tmp_path / "o.sqlite"
    with outbox(path) as box:
        for seq in range(3):
            # Larger than what SQLite keeps in memory.
            box.append("a", seq, "t/alert", bytes(4_000_000))
        for file in (path, path.with_name("o.sqlite-wal")):
            os.truncate(file, 0)
        assert box.after(0) is None
        assert (box.counts.waiting, box.counts.lost, box.counts.dropped) == (0, 3, 3)
        fill(box, 1, first=3)
        assert waiting(box) == [3]


_APPEND_FOR_EVER = """
import itertools, sys
from pathlib import Path
from edgeseg.clock import SystemClock
from edgeseg.publish.mqtt.outbox import Outbox
box = Outbox(Path(sys.argv[1]), SystemClock(), ttl_s=3600.0, capacity=100_000)
box.open()
for seq in itertools.count():
    box.append("a", seq, "t/alert", f"payload {seq}".encode())
    print(seq, flush=True)
"""


@pytest.mark.parametrize("after", [1, 50, 333])
def test_what_append_returned_for_survives_sigkill(after: int, tmp_path: Path) -> None:
    path = tmp_path / "o.sqlite"
    child = subprocess.Popen(
        [sys.executable, "-c", _APPEND_FOR_EVER, str(path)], stdout=subprocess.PIPE, text=True
    )
    with child:
        assert child.stdout is not None
        said = [int(child.stdout.readline()) for _ in range(after)]
        child.send_signal(signal.SIGKILL)
        said += [int(text) for text in child.stdout.read().split("\n")[:-1]]
    with outbox(path, capacity=100_000) as box:
        assert box.durable
        found = waiting(box)
    # One more may have been stored before it could be said.
    assert found[: len(said)] == said
    assert len(found) - len(said) <= 1


def test_use_before_open_is_our_own_mistake_in_words() -> None:
    with pytest.raises(StateError, match="before open"):
        fill(outbox(None), 1)


def test_close_is_idempotent_and_quiet(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    box = outbox(tmp_path / "o.sqlite")
    box.close()
    box.open()
    box.close()
    box.close()
    assert not caplog.records


def test_a_damaged_value_is_dropped_and_counted(tmp_path: Path) -> None:
    """SQLite's own check finds nothing wrong with it, and a start that fails of it would fail again."""
    path = tmp_path / "outbox.sqlite"
    with outbox(path) as box:
        fill(box, 4)
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as database:
        database.execute("UPDATE waiting SET enqueued_at = 'x' WHERE seq = 0")
        database.execute("UPDATE waiting SET topic = 'a/#' WHERE seq = 1")
        database.execute("UPDATE waiting SET payload = 7 WHERE seq = 2")
        database.execute("INSERT INTO waiting VALUES (?, 'a', 9, 't', x'00', 1.0)", (2**63 - 1,))
    with outbox(path) as box:
        assert waiting(box) == [3]
        assert box.counts.lost == 4
        fill(box, 1, first=4)
        assert waiting(box) == [3, 4]
