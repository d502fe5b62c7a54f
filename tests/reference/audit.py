"""Audits spelled out byte by byte (PROTOCOL §5.2 to §5.4): slow, for reading.

Knows BLAKE3 and nothing of hippy. Signatures are a stand-in, because real ones are randomized: BLAKE3 keyed with
the signer's public key over the message, 64 bytes of output.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from blake3 import blake3

from tests.reference.merkle import domain_key, is_leaf, keyed_hash, leaf_hash, little_endian

OK, LOST, RELEASED, NEVER_RECEIVED, WRONG = range(5)
PASS, FAIL, SILENT, OFFLINE, UNKNOWN = range(5)


def stand_in_signature(signer: bytes, message: bytes) -> bytes:
    return blake3(message, key=signer).digest(length=64)


@dataclass(frozen=True)
class Batch:
    """A batch with everything it is drawn from."""

    network: bytes
    netuid: int
    validator: bytes
    miner: bytes
    epoch_secret: bytes
    epoch: int
    number: int
    beacon: bytes
    round: int
    attempt: int = 0


def seed_commit(epoch_secret: bytes) -> bytes:
    return keyed_hash(domain_key("seed-commit"), epoch_secret)


def batch_round(batch: Batch, first_round: int, rounds: int, margin: int) -> int:
    assert 1 <= margin < rounds
    message = batch.epoch_secret + batch.miner + little_endian(batch.number, 32)
    drawn = int.from_bytes(keyed_hash(domain_key("when"), message)[0:8], "little")
    return first_round + 1 + drawn % (rounds - margin)


def token(batch: Batch) -> bytes:
    return keyed_hash(domain_key("token"), batch.epoch_secret + batch.miner + little_endian(batch.number, 32))


def seed(batch: Batch) -> bytes:
    message = batch.beacon + batch.validator + batch.miner
    return keyed_hash(token(batch), message + little_endian(batch.epoch, 64) + little_endian(batch.number, 32))


def numbers(batch: Batch, count: int, total: int) -> list[int]:
    stream = blake3(b"", key=seed(batch)).digest(length=16 * count)
    return [int.from_bytes(stream[16 * i : 16 * i + 16], "little") % total for i in range(count)]


def all_leaves(pieces: Mapping[Any, int]) -> list[tuple[bytes, int]]:
    """Every leaf of an inventory as (root, leaf), in the order of their numbers."""
    return [(root, leaf) for root in sorted(pieces) for leaf in range((pieces[root] + 16_383) // 16_384)]


def drawn_leaves(batch: Batch, pieces: Mapping[Any, int], count: int) -> list[tuple[bytes, int]]:
    leaves = all_leaves(pieces)
    return [leaves[number] for number in numbers(batch, count, len(leaves))]


def request(batch: Batch, leaves: Sequence[tuple[bytes, int]]) -> bytes:
    return (
        b"HPA1"
        + little_endian(batch.epoch, 64)
        + little_endian(batch.number, 32)
        + little_endian(batch.round, 64)
        + little_endian(batch.attempt, 8)
        + little_endian(len(leaves), 16)
        + token(batch)
        + b"".join(root + little_endian(leaf, 32) for root, leaf in leaves)
    )


def request_hash(batch: Batch, body: bytes) -> bytes:
    scope = batch.network + little_endian(batch.netuid, 16) + batch.validator + batch.miner
    return keyed_hash(domain_key("audit-request"), scope + body)


@dataclass(frozen=True)
class Answer:
    """One entry of a response."""

    status: int
    data: bytes = b""
    siblings: tuple[bytes, ...] = ()

    def encoded(self) -> bytes:
        sized = little_endian(self.status, 8) + little_endian(len(self.data), 16) + self.data
        return sized + little_endian(len(self.siblings), 8) + b"".join(self.siblings)

    def digest(self) -> bytes:
        if self.status == OK:
            return leaf_hash(self.data)
        if self.status == RELEASED:
            return keyed_hash(domain_key("audit-release"), self.data)
        return bytes(32)

    def evidence(self) -> bytes:
        sized = little_endian(self.status, 8) + little_endian(len(self.data), 16) + self.digest()
        return sized + little_endian(len(self.siblings), 8) + b"".join(self.siblings)


def evidence(bound_to: bytes, answers: Sequence[Answer]) -> bytes:
    return bound_to + b"".join(answer.evidence() for answer in answers)


def response_hash(evidence_bytes: bytes) -> bytes:
    return keyed_hash(domain_key("audit-response"), evidence_bytes)


def response(bound_to: bytes, answers: Sequence[Answer], miner: bytes) -> bytes:
    signed = response_hash(evidence(bound_to, answers))
    entries = b"".join(answer.encoded() for answer in answers)
    return b"HPR1" + bound_to + entries + signed + stand_in_signature(miner, signed)


def verdict(asked: tuple[bytes, int], piece_length: int, answer: Answer) -> int:
    if answer.status != OK:
        return answer.status
    root, leaf = asked
    true = is_leaf(root, piece_length, leaf, len(answer.data), answer.digest(), answer.siblings)
    return OK if true else WRONG


@dataclass(frozen=True)
class Entry:
    """One entry of a transcript."""

    epoch: int
    miner: bytes
    batch: int
    round: int
    attempt: int
    time: int
    outcome: int
    request_hash: bytes = bytes(32)
    response_hash: bytes = bytes(32)
    signature: bytes = bytes(64)
    verdicts: tuple[int, ...] = ()
    voids: tuple[tuple[int, int, bytes], ...] = ()

    def but(self, **changes: object) -> Entry:
        """The same with other fields."""
        return replace(self, **changes)  # type: ignore[arg-type]

    def encoded(self) -> bytes:
        return (
            little_endian(self.epoch, 64)
            + self.miner
            + little_endian(self.batch, 32)
            + little_endian(self.round, 64)
            + little_endian(self.attempt, 8)
            + little_endian(self.time, 64)
            + little_endian(self.outcome, 8)
            + self.request_hash
            + self.response_hash
            + self.signature
            + little_endian(len(self.verdicts), 16)
            + bytes(self.verdicts)
            + little_endian(len(self.voids), 16)
            + b"".join(bytes([entry, reason]) + reference for entry, reason, reference in self.voids)
        )


def transcript_scope(network: bytes, netuid: int, validator: bytes, epoch: int) -> bytes:
    return network + little_endian(netuid, 16) + validator + little_endian(epoch, 64)


def transcript_root(scope: bytes, entries: Sequence[Entry]) -> bytes:
    link = keyed_hash(domain_key("transcript"), scope)
    for entry in entries:
        link = keyed_hash(domain_key("transcript-entry"), link + entry.encoded())
    return link


def transcript(scope: bytes, entries: Sequence[Entry]) -> bytes:
    count = little_endian(len(entries), 32)
    return b"HPT1" + scope + count + b"".join(entry.encoded() for entry in entries)
