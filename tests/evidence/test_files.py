"""Evidence on disk: what is kept, for how long, and that no name leads out of its folder."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import pytest

from edgeseg.clock import ManualClock
from edgeseg.evidence.files import EvidenceFiles, file_name
from edgeseg.settings import EvidenceBudget

NOON_S = 1_795_000_000.0
DAY_S = 86_400.0
ROOMY = EvidenceBudget(10_000_000, 7.0)


def id_of(number: int) -> str:
    return f"{number:016x}"


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(utc_s=NOON_S)


@pytest.fixture
def folder(tmp_path: Path, clock: ManualClock) -> EvidenceFiles:
    return EvidenceFiles(tmp_path / "state" / "evidence", clock)


def names(folder: EvidenceFiles) -> list[str]:
    return sorted(str(path.relative_to(folder.path)) for path in folder.path.rglob("*") if path.is_file())


def test_a_file_is_whole_named_and_private(folder: EvidenceFiles) -> None:
    kept = folder.keep("yard", id_of(1), "before", b"picture", ROOMY)
    place = folder.place_of(kept)
    assert place == folder.path / "yard" / "0000000000000001-before.jpg"
    assert place.read_bytes() == b"picture"
    assert (mode(place), mode(place.parent), mode(folder.path)) == (0o600, 0o700, 0o700)
    assert folder.read(kept) == b"picture"
    place.unlink()
    assert folder.read(kept) is None


def test_an_alert_has_its_parts_in_order(folder: EvidenceFiles) -> None:
    folder.keep("yard", id_of(1), "after", b"a", ROOMY)
    folder.keep("yard", id_of(1), "before", b"b", ROOMY)
    folder.keep("yard", id_of(2), "after", b"c", ROOMY)
    assert [kept.part for kept in folder.of_alert(id_of(1))] == ["before", "after"]
    assert folder.of_alert(id_of(3)) == ()


def test_the_oldest_makes_room(folder: EvidenceFiles, clock: ManualClock) -> None:
    budget = EvidenceBudget(1_000_000, 7.0)
    for number in range(6):
        folder.keep("yard", id_of(number), "after", bytes(300_000), budget)
        clock.advance(1.0)
        assert sum((folder.path / name).stat().st_size for name in names(folder)) <= budget.keep_bytes
    assert names(folder) == [f"yard/{id_of(number)}-after.jpg" for number in (3, 4, 5)]


def test_what_is_larger_than_the_budget_displaces_nothing(folder: EvidenceFiles) -> None:
    budget = EvidenceBudget(1_000_000, 7.0)
    folder.keep("yard", id_of(1), "after", b"small", budget)
    with pytest.raises(OSError, match="larger than all") as caught:
        folder.keep("yard", id_of(2), "after", bytes(1_000_001), budget)
    assert caught.value.errno == errno.EFBIG
    assert len(names(folder)) == 1


def test_days_pass(folder: EvidenceFiles, clock: ManualClock) -> None:
    folder.keep("yard", id_of(1), "after", b"old", ROOMY)
    clock.advance(6.9 * DAY_S)
    folder.keep("yard", id_of(2), "after", b"new", ROOMY)
    assert len(names(folder)) == 2
    clock.advance(0.2 * DAY_S)
    folder.tidy(ROOMY)
    assert names(folder) == [f"yard/{id_of(2)}-after.jpg"]


def test_a_machine_whose_clock_was_wrong_loses_nothing_when_it_is_set(tmp_path: Path) -> None:
    clock = ManualClock(utc_s=1000.0)
    folder = EvidenceFiles(tmp_path, clock)
    folder.keep("yard", id_of(1), "after", b"x", ROOMY)
    clock.set(0.0, NOON_S)
    folder.tidy(ROOMY)
    assert len(names(folder)) == 1


def test_another_process_goes_on_with_what_there_is(folder: EvidenceFiles, clock: ManualClock) -> None:
    folder.keep("yard", id_of(1), "after", bytes(600_000), ROOMY)
    (folder.path / "yard" / ".0123456789abcdef.partial").write_bytes(b"half")
    (folder.path / "yard" / "note.txt").write_text("mine")
    clock.advance(1.0)
    next_one = EvidenceFiles(folder.path, clock)
    next_one.open()
    assert [kept.size_bytes for kept in next_one.of_alert(id_of(1))] == [600_000]
    next_one.keep("yard", id_of(2), "after", bytes(600_000), EvidenceBudget(1_000_000, 7.0))
    assert names(next_one) == [f"yard/{id_of(2)}-after.jpg", "yard/note.txt"]


@pytest.mark.parametrize("alert_id", ["", "../../../etc/x", "0" * 15, "0" * 17, "G" * 16, "0" * 15 + "/"])
def test_what_is_no_id_names_no_file(folder: EvidenceFiles, alert_id: str) -> None:
    with pytest.raises(ValueError, match="not the id"):
        file_name(alert_id, "before")
    with pytest.raises(ValueError, match="not the id"):
        folder.keep("yard", alert_id, "before", b"x", ROOMY)
    assert not folder.path.exists()


@pytest.mark.parametrize("camera", ["", ".", "..", "a/b", "/etc", "a\x00b"])
def test_no_camera_leads_out_of_the_folder(folder: EvidenceFiles, camera: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="cannot be a folder"):
        folder.keep(camera, id_of(1), "before", b"x", ROOMY)
    assert not list(tmp_path.rglob("*.jpg"))


def test_links_are_not_followed(folder: EvidenceFiles, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    folder.path.mkdir(parents=True)
    (folder.path / "yard").symlink_to(outside, target_is_directory=True)
    with pytest.raises(OSError, match="yard"):
        folder.keep("yard", id_of(1), "before", b"x", ROOMY)
    assert not list(outside.iterdir())
    kept = folder.keep("gate", id_of(2), "before", b"x", ROOMY)
    (tmp_path / "secret").write_text("s3cret")
    folder.place_of(kept).unlink()
    folder.place_of(kept).symlink_to(tmp_path / "secret")
    with pytest.raises(OSError, match=kept.name):
        folder.read(kept)


def test_a_disk_that_is_full_leaves_nothing_half(tmp_path: Path, clock: ManualClock) -> None:
    def no_room(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    folder = EvidenceFiles(tmp_path / "evidence", clock, sync=no_room)
    with pytest.raises(OSError, match="No space"):
        folder.keep("yard", id_of(1), "before", b"x", ROOMY)
    assert names(folder) == []
    assert folder.of_alert(id_of(1)) == ()
