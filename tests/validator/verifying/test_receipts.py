"""Receipts of a log are kept without memory for each, and found by number."""

from __future__ import annotations

from pathlib import Path

import pytest

from hippy.errors import TemporaryError
from hippy.ids import MessageId
from hippy.validator.verifying import receipts as module
from hippy.validator.verifying.receipts import Receipts
from hippy.wire.segment import Holding
from tests.validator.world import MINERS


def holding(number: int) -> Holding:
    return Holding(
        index=0,
        ticket_id=MessageId(number.to_bytes(32, "big")),
        miner=MINERS[0].public_key,
        time=number,
        signature=bytes([number % 256]) * 64,
    )


@pytest.mark.parametrize("memory_bytes", [1, 300, 10**6])
def test_receipts_are_found_by_number_in_memory_and_in_the_file(
    memory_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MEMORY_BYTES_MAX", memory_bytes)
    receipts = Receipts()
    try:
        for number in range(20):
            receipts.add(holding(number))
            assert receipts.get(number // 2)[1] == number // 2
        for number in (0, 19, 7, 3, 18):
            each = holding(number)
            assert receipts.get(number) == (each.ticket_id, each.time, each.signature)
    finally:
        receipts.close()


def test_a_directory_without_room_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MEMORY_BYTES_MAX", 1)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "nowhere"))
    with pytest.raises(TemporaryError, match="the log's receipts cannot be kept in a file: No such file"):
        Receipts().add(holding(1))
