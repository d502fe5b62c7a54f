from __future__ import annotations

import logging
from pathlib import Path

import pytest

from hippy.client.names import Place
from hippy.client.seen import FIRST, SeenRow, SeenRows
from hippy.errors import IntegrityError
from hippy.ids import MessageId, NetworkId, PublicKey

NETWORK, ACCOUNT = NetworkId(b"n" * 32), PublicKey(b"a" * 32)
PLACE = Place(b"B" * 32, (b"C" * 32,), b"key")


def version(number: int, row: bytes = b"r") -> SeenRow:
    return SeenRow(number, MessageId(row * 32))


def test_older_version_and_another_row_of_the_same_version_are_refused() -> None:
    seen = SeenRows()
    assert seen.get(PLACE) == FIRST
    for number in (2, 2, 5):
        seen.note(PLACE, version(number), seen.known())
    for row in (version(4), version(5, b"x")):
        with pytest.raises(IntegrityError):
            seen.note(PLACE, row, seen.known())
    assert seen.get(PLACE) == version(5)


def test_next_session_remembers(tmp_path: Path) -> None:
    file = tmp_path / "state" / "seen.sqlite"
    for number in (1, 2):
        seen = SeenRows(file, NETWORK, ACCOUNT)
        seen.note(PLACE, version(number), seen.known())
        seen.close()
    seen = SeenRows(file, NETWORK, ACCOUNT)
    assert seen.get(PLACE) == version(2)
    with pytest.raises(IntegrityError) as caught:
        seen.note(PLACE, version(1), seen.known())
    assert str(file) in (caught.value.hint or "")
    seen.close()


def test_other_accounts_and_networks_remember_for_themselves(tmp_path: Path) -> None:
    seen = SeenRows(tmp_path / "seen", NETWORK, ACCOUNT)
    seen.note(PLACE, version(1), seen.known())
    seen.close()
    for network, account in ((NetworkId(b"m" * 32), ACCOUNT), (NETWORK, PublicKey(b"b" * 32))):
        other = SeenRows(tmp_path / "seen", network, account)
        assert other.get(PLACE) == FIRST
        other.close()


def test_newer_version_of_another_session_is_not_undone(tmp_path: Path) -> None:
    sessions = [SeenRows(tmp_path / "seen", NETWORK, ACCOUNT) for _ in range(2)]
    for number, session in zip((7, 3), sessions, strict=True):
        session.note(PLACE, version(number), session.known())
    for session in sessions:
        session.close()
    after = SeenRows(tmp_path / "seen", NETWORK, ACCOUNT)
    assert after.get(PLACE) == version(7)
    after.close()


def test_names_are_not_in_the_file(tmp_path: Path) -> None:
    seen = SeenRows(tmp_path / "seen", NETWORK, ACCOUNT)
    seen.note(PLACE, version(1), seen.known())
    seen.close()
    assert PLACE.name[0] not in (tmp_path / "seen").read_bytes()


def test_file_that_cannot_be_used_is_done_without(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "seen").write_bytes(b"no database at all, and rather long" * 100)
    seen = SeenRows(tmp_path / "seen", NETWORK, ACCOUNT)
    with caplog.at_level(logging.WARNING):
        seen.note(PLACE, version(1), seen.known())
        seen.close()
    assert seen.get(PLACE) == version(1)
    assert "cannot remember" in caplog.text


def test_older_answer_that_was_on_its_way_when_a_newer_row_came_is_no_lie() -> None:
    seen = SeenRows()
    seen.note(PLACE, version(2), seen.known())
    before = seen.known()
    seen.note(PLACE, version(5), seen.known())
    for number in (2, 3, 5):
        seen.note(PLACE, version(number), before)
    assert seen.get(PLACE) == version(5)
    for row in (version(1), version(2, b"x"), version(5, b"x")):  # older than known then; another row of a version
        with pytest.raises(IntegrityError):
            seen.note(PLACE, row, before)
    with pytest.raises(IntegrityError):
        seen.note(PLACE, version(3), seen.known())


def test_answer_on_its_way_is_not_older_than_what_another_session_wrote_meanwhile(tmp_path: Path) -> None:
    seen, other = (SeenRows(tmp_path / "seen", NETWORK, ACCOUNT) for _ in range(2))
    before = seen.known()
    other.note(PLACE, version(4), other.known())
    other.close()
    seen.note(PLACE, version(3), before)
    assert seen.get(PLACE) == version(4)
    with pytest.raises(IntegrityError):
        seen.note(PLACE, version(3), seen.known())
    seen.close()
