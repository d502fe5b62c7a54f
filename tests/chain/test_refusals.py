"""Every error code of the chain SDK has a meaning of ours."""

from __future__ import annotations

import pytest

from hippy.chain.refusals import CODES, is_final, refusal
from hippy.errors import AuthError, RateLimitedError, TemporaryError, UsageError


def test_every_code_of_the_sdk_is_mapped() -> None:
    bittensor = pytest.importorskip("bittensor")
    assert {code.value for code in bittensor.ErrorCode} == CODES


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("rate_limited", RateLimitedError),
        ("not_registered", AuthError),
        ("not_authorized", AuthError),
        ("invalid_argument", UsageError),
        ("too_early", TemporaryError),
        ("unknown", TemporaryError),
        ("a code of tomorrow", TemporaryError),
    ],
)
def test_a_code_says_whose_fault_it_is(code: str, kind: type[Exception]) -> None:
    error = refusal(code, "what happened")
    assert type(error) is kind
    assert "what happened" in str(error)


def test_what_a_block_has_as_failed_is_final_unless_nobody_knows_why() -> None:
    assert is_final("not_registered", None, is_included=True)
    for code in ("internal", "unknown", "a code of tomorrow"):
        assert not is_final(code, None, is_included=True)


def test_outside_a_block_only_a_refusal_at_the_door_is_final() -> None:
    assert is_final("rate_limited", "RateLimitExceeded", is_included=False)
    assert is_final("expired", "Stale", is_included=False)
    for code, name in (("rate_limited", None), ("invalid_argument", "Invalid"), ("already_exists", "Usurped")):
        assert not is_final(code, name, is_included=False)
    for name in ("AlreadyImported", "PriorityTooLow", "Dropped", "Retracted", "FinalityTimeout"):
        assert not is_final("rate_limited", name, is_included=False)
