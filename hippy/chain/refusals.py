"""What the chain SDK's error codes mean to hippy: one class of ours for each, and what to do about it. Pure.

The codes are the values of ``bittensor.ErrorCode`` as of 11.3; hippy.chain.subtensor passes them on as text, and a
test holds this table complete. A code that is new, ``internal`` or ``unknown`` says nothing about whether the
chain did what was asked, and for transactions no code alone does: see :func:`is_final`.

Example::

    raise refusal("rate_limited", "weights were set 12 blocks ago")      # RateLimitedError
"""

from __future__ import annotations

from typing import Final

from hippy.errors import (
    AuthError,
    ConfigError,
    ConflictError,
    HippyError,
    NotFoundError,
    QuotaError,
    RateLimitedError,
    TemporaryError,
    UsageError,
)

_MEANINGS: Final[dict[str, tuple[type[HippyError], str | None]]] = {
    "insufficient_balance": (QuotaError, "send TAO to the key that pays the fee"),
    "insufficient_liquidity": (TemporaryError, "the subnet's pool is thin: try a smaller amount, or later"),
    "rate_limited": (RateLimitedError, "the chain limits how often this may be done: try again some blocks later"),
    "not_registered": (AuthError, "register the hotkey on this subnet: hippy chain register"),
    "not_authorized": (AuthError, "the hotkey may not do this: does it have a validator permit, and enough stake?"),
    "already_exists": (ConflictError, None),
    "not_found": (NotFoundError, None),
    "subnet_not_exists": (ConfigError, "is netuid right, and the network?"),
    "subtoken_disabled": (TemporaryError, "the subnet's owner has not started it yet"),
    "disabled": (TemporaryError, "the chain or the subnet's owner has switched this off for now"),
    "too_early": (TemporaryError, "try again some blocks later"),
    "expired": (TemporaryError, "try again: the transaction was too old when the chain saw it"),
    "limit_exceeded": (TemporaryError, "a limit of the chain is reached: try again later"),
    "unit_mismatch": (UsageError, None),
    "invalid_argument": (UsageError, None),
    "policy_violation": (ConfigError, None),
    "internal": (TemporaryError, "the chain's node failed: try again, or name another endpoint"),
    "unknown": (TemporaryError, "try again, or name another endpoint"),
}

CODES: Final = frozenset(_MEANINGS)
"""Every code that has a meaning here."""

_SAYS_NOTHING: Final = frozenset({"internal", "unknown"})

_REFUSED_BEFORE_THE_POOL: Final = frozenset(
    {
        *("Payment", "Stale", "BadProof", "BadSigner", "Call", "AncientBirthBlock"),
        *("StakeAmountTooLow", "NotEnoughBalanceToStake", "SubnetNotExists", "HotKeyAccountNotExists"),
        *("RateLimitExceeded", "InsufficientLiquidity", "HotKeyNotRegisteredInNetwork", "InvalidIpAddress"),
        *("ServingRateLimitExceeded", "InvalidPort", "InvalidRevealRound", "InputLengthsUnequal"),
        *("HotKeyNotRegisteredInSubNet", "ColdkeySwapAnnounced", "ColdkeySwapDisputed"),
    }
)
"""Names under which a node refuses a transaction when it is handed in: the SDK's CUSTOM_TRANSACTION_ERRORS and
INVALID_TRANSACTION_ERRORS, less what may be said of one that is in the pool already (usurped, dropped, imported)."""


def refusal(code: str, message: str) -> HippyError:
    """Return the error to raise for a code of the SDK and the sentence it came with."""
    kind, hint = _MEANINGS.get(code, _MEANINGS["unknown"])
    return kind(f"the chain: {message}", hint=hint)


def is_final(code: str, name: str | None, *, is_included: bool) -> bool:
    """Return whether a transaction has failed for certain, so that nothing was done and nothing need be looked up.

    ``name`` is the runtime's or the pool's own name of the error, ``is_included`` whether a block has it, failed. Codes
    alone prove nothing: the SDK also reads them out of a node's words, and a node that says "rate limit exceeded" may
    mean our questions about a transaction that is long done.
    """
    return (is_included and code in CODES - _SAYS_NOTHING) or name in _REFUSED_BEFORE_THE_POOL
