"""What the validator's database holds: keys, values, and typed access to them.

============================================  ==========================================================
key                                           value
============================================  ==========================================================
``meta/home``                                 format ‖ network ‖ hotkey: whose database this is
``meta/serial``                               u64, the last ticket serial given out
``head``                                      log-head
``log/`` seq                                  log-entry as everybody may see it
``priv/`` seq                                 what that leaves out: account-record, object-row, bucket-row or envelopes
``acct/`` account, ``used/`` account          account-record; u64 bytes charged
``conf/`` account                             account-record, as the settings had it when they were applied last
``cand/`` candidate set's id                  u64, seq of the record that has it
``alloc/`` segment                            :class:`Allocation`
``due/`` upload_by ‖ segment                  nothing: when the allocation is looked at
``closed/`` segment                           u64, seq of the record that closed its allocation, if that was the last
``seg/`` segment, ``env/`` segment            segment-record; envelopes
``life/`` segment                             hippy.validator.leases.Life: who needs it, until when, if it is released
``drop/`` segment                             drop, while it waits for its release
``ends/`` time ‖ segment ‖ u8 why             nothing: when a segment is looked at (hippy.validator.leases)
``hold/`` miner ‖ root ‖ segment ‖ u8 index   hippy.validator.held.Held: a holding, ended ones too
``end/`` seq ‖ key of a holding               nothing: the record that ended it
``count/`` miner, ``size/`` miner             u64, holdings that have not ended; u64, their bytes
``lost/`` segment ‖ u8 index                  the miner that held it
``former/`` segment ‖ u8 index ‖ seq          holding: who had the piece until the moved record seq
``heal/`` segment                             hippy.validator.repair.health.Health
``hist/`` u8 k ‖ u8 n ‖ u8 healthy            u64, segments of this health
``queue/`` u32 rank ‖ segment                 nothing: a segment to be repaired
``wait/`` time ‖ segment                      nothing: one that nobody can repair now
``job/`` segment ‖ u8 index                   hippy.validator.repair.jobs.RepairJob: a piece's repair under way
``tried/`` segment ‖ u8 index ‖ serial        hippy.validator.repair.jobs.Tried: a repair ticket that was given out
``note/`` segment ‖ u8 index                  hippy.validator.repair.jobs.Notes: what went wrong with a piece's repair
``flaw/`` segment ‖ u8 index                  u64, seq of the record that says it cannot be repaired
``drain/`` miner                              drain: it wants to leave
``churn/`` time                               hippy.validator.repair.churn: counts as of then
``gone/`` miner                               u64 seq of the departure that is still being marked ‖ key it has come to
``rep/`` miner ‖ root ‖ seq                   u64 beacon round ‖ id of the lost report in that loss record
``since/`` miner                              u64, block of the registration under which it was last seen
``own/`` segment                              account of the committed segment
``row/`` name key, ``dead/`` name key         row id ‖ object-row: the live one, or the deletion that ended it
``man/`` row id                               encrypted manifest
``bkt/`` account ‖ bucket                     bucket-row: a bucket that was made
``stat/`` name                                u64, a figure of the whole registry (hippy.validator.admin)
``req/``, ``reqdue/``                         hippy.validator.once
``replica/`` home ‖ ``/`` …                   hippy.validator.following.replica: all of this again, of another home
``equiv/`` home                               equivocation: proof that this home signed two logs
============================================  ==========================================================

Integers in keys are big-endian, so that they sort. A name key is account ‖ bucket ‖ components, each component
as u8 (length / 16) ‖ bytes: the order of listings (PROTOCOL §3.4). A component's key never begins another's, so
everything below a name has the name's key as prefix.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, Final, Literal, TypeVar

from pydantic import Field

from hippy.errors import ConfigError, ProtocolError
from hippy.hashing import u64
from hippy.ids import ID_BYTES, MessageId, PublicKey, SegmentId
from hippy.kv import Reader, Transaction
from hippy.wire.canonical import Message
from hippy.wire.fields import Address, Bytes32, Count, Key, Seconds
from hippy.wire.object import ObjectRow
from hippy.wire.segment import SegmentRecord, SegmentSpec
from hippy.wire.ticket import PayClass

FORMAT: Final = b"hippy validator 5"
FORMATS_BEFORE: Final = (b"hippy validator 1", b"hippy validator 2", b"hippy validator 3", b"hippy validator 4")
"""1 and 2 name no body ids in their log records, 3 does not count who needs a segment, 4 no healthy pieces; they were
never released."""

HOME: Final = b"meta/home"
SERIAL: Final = b"meta/serial"
HEAD: Final = b"head"
LOG: Final = b"log/"
PRIVATE: Final = b"priv/"
ACCOUNT: Final = b"acct/"
SETTING: Final = b"conf/"
USED: Final = b"used/"
CANDIDATES: Final = b"cand/"
ALLOCATION: Final = b"alloc/"
DUE: Final = b"due/"
CLOSED: Final = b"closed/"
SEGMENT: Final = b"seg/"
ENVELOPES: Final = b"env/"
LIFE: Final = b"life/"
DROP: Final = b"drop/"
ENDS: Final = b"ends/"
HOLDING: Final = b"hold/"
ENDED: Final = b"end/"
HELD_COUNT: Final = b"count/"
HELD_BYTES: Final = b"size/"
LOST: Final = b"lost/"
FORMER: Final = b"former/"
HEALTH: Final = b"heal/"
HISTOGRAM: Final = b"hist/"
QUEUE: Final = b"queue/"
WAITING: Final = b"wait/"
JOB: Final = b"job/"
TRIED: Final = b"tried/"
NOTES: Final = b"note/"
FLAWED: Final = b"flaw/"
DRAIN: Final = b"drain/"
CHURN: Final = b"churn/"
GONE: Final = b"gone/"
REPORTED: Final = b"rep/"
SINCE: Final = b"since/"
OWNER: Final = b"own/"
LIVE: Final = b"row/"
DEAD: Final = b"dead/"
MANIFEST: Final = b"man/"
BUCKET: Final = b"bkt/"
STATISTIC: Final = b"stat/"

STORED_BYTES_MAX: Final = 32 * 1024 * 1024
"""Limit of a stored message; far above what the limits on its way in let through."""

COMPONENT_UNIT_BYTES: Final = 16
SUBTREE_END: Final = b"\xff"
"""Behind every key of a subtree: component keys begin with 2 … 16."""

M = TypeVar("M", bound=Message)


class Place(Message):
    """One piece's current ticket, less what the allocation says anyway."""

    TYPE = "place"
    serial: Count
    miner: Key
    endpoint: Address


class Allocation(Message):
    """A segment between allocate and close; tickets are rebuilt from it (hippy.validator.tickets).

    ``tried`` are miners that failed a piece, ``moves`` counts re-allocations by index. The placement was drawn
    from ``placement_round``, ``beacon`` and ``epoch``; so is a piece's next miner.
    """

    TYPE = "allocation"
    account: Key
    spec: SegmentSpec
    pay_class: PayClass
    upload_by: Seconds
    keep_until: Seconds | None = None
    placement_round: Count
    beacon: Bytes32
    epoch: Count
    candidates_seq: Count
    places: Annotated[tuple[Place, ...], Field(min_length=1, max_length=255)]
    tried: tuple[Key, ...] = ()
    moves: tuple[Count, ...]
    state: Literal["open", "committed"] = "open"

    @property
    def segment_id(self) -> SegmentId:
        """The segment this is about."""
        return self.spec.segment_id(self.account)

    @property
    def charged_bytes(self) -> int:
        """What the account is charged for it: n · piece_length."""
        return self.spec.n * self.spec.piece_length


@dataclass(frozen=True, slots=True)
class StoredRow:
    """An object row with its id, which is kept because hashing it again costs more than reading it."""

    row_id: MessageId
    row: ObjectRow

    def encode(self) -> bytes:
        """Return the stored value."""
        return self.row_id + self.row.encode()

    @classmethod
    def parse(cls, value: bytes) -> StoredRow:
        """Return the row in a stored value."""
        return cls(MessageId(value[:32]), ObjectRow.parse(value[32:], limit=STORED_BYTES_MAX))


def claim(txn: Transaction, network: bytes, hotkey: PublicKey) -> None:
    """Mark a new database as ours.

    Raises ConfigError when it belongs to another validator, network or format.
    """
    found, ours = txn.get(HOME), FORMAT + network + hotkey
    if found is None:
        txn.put(HOME, ours)
    elif found.startswith(FORMATS_BEFORE):
        raise ConfigError(
            "the database was made by an earlier pre-release version of hippy, which this one cannot read",
            hint="start with a new data_dir",
        )
    elif found != ours:
        raise ConfigError(
            "the database belongs to another hotkey, network or version of hippy",
            hint="give every validator a data_dir of its own",
        )


def owner_of(reader: Reader) -> PublicKey:
    """Return the hotkey whose database this is; it must be claimed."""
    found = reader.get(HOME)
    assert found is not None, "a database is claimed before it is used"
    return PublicKey(found[-ID_BYTES:])


def ordered(value: int) -> bytes:
    """Return u64 big-endian, for keys."""
    return value.to_bytes(8, "big")


def get_count(reader: Reader, key: bytes) -> int:
    """Return a stored integer, 0 where there is none."""
    return int.from_bytes(reader.get(key) or b"", "little")


def put_count(txn: Transaction, key: bytes, value: int) -> None:
    """Store an integer that is not negative."""
    txn.put(key, u64(value))


def get_message(reader: Reader, key: bytes, kind: type[M]) -> M | None:
    """Return the stored message, or None."""
    value = reader.get(key)
    return None if value is None else kind.parse(value, limit=STORED_BYTES_MAX)


def get_allocation(reader: Reader, segment_id: SegmentId) -> Allocation | None:
    """Return a segment's allocation until it is closed."""
    return get_message(reader, ALLOCATION + segment_id, Allocation)


def get_segment(reader: Reader, segment_id: SegmentId) -> SegmentRecord | None:
    """Return a committed segment."""
    return get_message(reader, SEGMENT + segment_id, SegmentRecord)


def due_key(allocation: Allocation) -> bytes:
    """Return the key under which an allocation waits for its end."""
    return DUE + ordered(allocation.upload_by) + allocation.segment_id


def component_key(component: bytes) -> bytes:
    """Return u8 (length / 16) ‖ component.

    Raises ProtocolError unless it has 2 to 16 blocks of 16 bytes.
    """
    units, rest = divmod(len(component), COMPONENT_UNIT_BYTES)
    if rest or not 2 <= units <= COMPONENT_UNIT_BYTES:
        raise ProtocolError("an encrypted name component has 32 to 256 bytes, in blocks of 16")
    return bytes([units]) + component


def name_key(account: PublicKey, bucket: bytes, components: Iterable[bytes]) -> bytes:
    """Return the key of a name or prefix, behind its table.

    Raises ProtocolError for a component of impossible length.
    """
    return account + component_key(bucket) + b"".join(map(component_key, components))


def component_end(key: bytes, start: int) -> int:
    """Return where the component that begins at ``start`` of a key ends."""
    return start + 1 + COMPONENT_UNIT_BYTES * key[start]


def get_stored_row(reader: Reader, key: bytes) -> bytes | None:
    """Return the current row of a name key as it is stored, its id first; None where none was ever written."""
    return reader.get(LIVE + key) or reader.get(DEAD + key)


def get_row(reader: Reader, key: bytes) -> StoredRow | None:
    """Return the current row of a name key, a deletion too; None where none was ever written."""
    value = get_stored_row(reader, key)
    return None if value is None else StoredRow.parse(value)
