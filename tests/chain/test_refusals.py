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


def test_only_a_certain_no_is_final() -> None:
    assert is_final("not_registered")
    assert not any(map(is_final, ("internal", "unknown", "a code of tomorrow")))
