"""Accounts: class, quota and what is charged. Functions on a transaction.

An account is charged n · piece_length when a segment is allocated and gets it back once: when the allocation is closed
without a commit (PROTOCOL §3.1), or the committed segment is released (§4.2). It is charged for its current rows and
their manifests too (§3.4).

Invariant: what is charged is the sum over what is live of these.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from hippy.errors import AuthError, QuotaError
from hippy.identity import ss58_encode
from hippy.ids import PublicKey
from hippy.kv import Reader, Transaction
from hippy.validator.log import TERM, Home, append
from hippy.validator.tables import ACCOUNT, SETTING, USED, get_count, get_message, put_count
from hippy.wire.home import HomeChange
from hippy.wire.log import AccountRecord
from hippy.wire.node import AccountStatus


def apply_accounts(txn: Transaction, home: Home, wanted: Iterable[AccountRecord], now: int) -> None:
    """Log and store every account that is new or changed."""
    changed = [record for record in wanted if record != get_message(txn, ACCOUNT + record.account, AccountRecord)]
    for record in changed:
        fold_account(txn, record)
    append(txn, home, changed, now)


def fold_account(txn: Transaction, record: AccountRecord) -> None:
    """Take over an account's class and quota as they are logged."""
    txn.put(ACCOUNT + record.account, record.encode())


def apply_settings(txn: Transaction, home: Home, listed: Sequence[AccountRecord], now: int) -> None:
    """Apply the accounts that the settings list, those whose entry is new or changed since it was applied last.

    So the newest word holds, whoever said it: an account that was set on the running validator stays as it was set
    until its entry changes. One that is listed no longer keeps what it had.
    """
    changed = [record for record in listed if record != get_message(txn, SETTING + record.account, AccountRecord)]
    apply_accounts(txn, home, changed, now)
    for key, _ in list(txn.scan(SETTING)):
        txn.delete(key)
    for record in listed:
        txn.put(SETTING + record.account, record.encode())


def is_listed(reader: Reader, account: PublicKey) -> bool:
    """Return whether the operator set this account, in the settings or since."""
    return reader.get(ACCOUNT + account) is not None


def terms_of(reader: Reader, account: PublicKey, unpaid_quota_bytes: int) -> AccountRecord:
    """Return an account's class and quota.

    Raises AuthError for an unknown one where strangers have no quota.
    """
    record = get_message(reader, ACCOUNT + account, AccountRecord)
    if record is not None:
        return record
    if unpaid_quota_bytes == 0:
        raise AuthError(
            f"the account {ss58_encode(account)} is not known here",
            hint="ask the validator's operator to add it",
        )
    return AccountRecord(account=account, pay_class="unpaid", quota_bytes=unpaid_quota_bytes)


def check_room(reader: Reader, terms: AccountRecord, size: int) -> int:
    """Return the bytes used now.

    Raises QuotaError when the account has no room for ``size`` more.
    """
    used = get_count(reader, USED + terms.account)
    if used + size > terms.quota_bytes:
        raise QuotaError(
            f"{size} bytes are needed, {max(0, terms.quota_bytes - used)} of {terms.quota_bytes} are free",
            hint="a file needs n/k times its size; ask the validator's operator for more quota",
        )
    return used


def charge(txn: Transaction, terms: AccountRecord, size: int) -> None:
    """Charge ``size`` bytes.

    Raises QuotaError when the account has no room for them.
    """
    used = check_room(txn, terms, size)
    put_count(txn, USED + terms.account, used + size)


def charge_anyway(txn: Transaction, account: PublicKey, size: int) -> None:
    """Charge ``size`` bytes of something that is logged, whatever the account's quota."""
    put_count(txn, USED + account, get_count(txn, USED + account) + size)


def refund(txn: Transaction, account: PublicKey, size: int) -> None:
    """Give back what was charged."""
    used = get_count(txn, USED + account)
    assert size <= used, "what was charged is given back once"
    put_count(txn, USED + account, used - size)


def status_of(
    reader: Reader, terms: AccountRecord, home: PublicKey, term: int = TERM, change: HomeChange | None = None
) -> AccountStatus:
    """Return what ``GET /v1/account`` answers, of the registry of ``home``, where the account is in its ``term``."""
    return AccountStatus(
        account=terms.account,
        pay_class=terms.pay_class,
        quota_bytes=terms.quota_bytes,
        used_bytes=get_count(reader, USED + terms.account),
        home=home,
        term=term,
        change=change,
    )
