"""Rows whose fields do not fit their action are refused."""

from __future__ import annotations

import pytest

from hippy.errors import ProtocolError
from tests.wire.samples import ROW

EMPTY = {"head": None, "manifest_hash": None, "manifest_length": None, "segment_ids": ()}


def test_put_with_content_and_delete_without_are_rows() -> None:
    ROW.check_shape()
    ROW.model_copy(update={"segment_ids": ()}).check_shape()
    ROW.model_copy(update={"action": "delete", **EMPTY}).check_shape()


@pytest.mark.parametrize("missing", ["head", "manifest_hash", "manifest_length"])
def test_put_row_lacks_nothing(missing: str) -> None:
    with pytest.raises(ProtocolError, match="a put row has"):
        ROW.model_copy(update={missing: None}).check_shape()


@pytest.mark.parametrize("kept", list(EMPTY))
def test_delete_row_has_no_content(kept: str) -> None:
    with pytest.raises(ProtocolError, match="a delete row has no content"):
        ROW.model_copy(update={"action": "delete", **EMPTY, kept: getattr(ROW, kept)}).check_shape()


def test_segment_is_named_once() -> None:
    with pytest.raises(ProtocolError, match="each segment once"):
        ROW.model_copy(update={"segment_ids": ROW.segment_ids * 2}).check_shape()


def test_encrypted_name_has_a_limit() -> None:
    ROW.model_copy(update={"name": (b"n" * 256,) * 32}).check_shape()
    with pytest.raises(ProtocolError, match="at most 8192 bytes"):
        ROW.model_copy(update={"name": (b"n" * 256,) * 32 + (b"n" * 32,)}).check_shape()
