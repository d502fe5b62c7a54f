"""Writes ``audit.json``, the frozen vectors of audits, from the slow reference alone.

``python -m tests.vectors.make_audit`` at the top of the repository. The file changes only with the protocol's
version; tests/proofs/test_audit_vectors.py holds that the reference still makes it, and that hippy agrees with it.
Each case names its outcome: ``verdicts``, ``rounds`` or ``root``, or the error: ``protocol`` (malformed),
``integrity`` (an answer to something else) or ``usage`` (nothing can be drawn).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from blake3 import blake3

from tests.reference import audit, merkle
from tests.reference.audit import Answer, Batch, Entry

FILE = Path(__file__).with_name("audit.json")
ABOUT = (
    "Audits, PROTOCOL 5.2 to 5.4, made by tests/vectors/make_audit.py. Bytes are hex. Signatures are a stand-in: "
    "BLAKE3 keyed with the miner's key over the response hash, 64 bytes of output."
)

Leaf = tuple[bytes, int]


def named(name: str, length: int = 32) -> bytes:
    """Bytes that are nobody's choice."""
    return blake3(name.encode()).digest(length=length)


BATCH = Batch(
    network=named("network"),
    netuid=3,
    validator=named("validator"),
    miner=named("miner"),
    epoch_secret=named("epoch secret"),
    epoch=7,
    number=2,
    beacon=named("beacon"),
    round=1_042,
)

# One byte; one leaf and a byte; three and a byte; four and five bytes, of which the last is promoted twice. Only
# the short leaves are asked for: they fit a file.
PIECES = [named(f"piece {length}", length) for length in (1, 16_385, 49_153, 65_541)]
ROOTS = [merkle.root_of(piece) for piece in PIECES]
LENGTHS = {root: len(piece) for root, piece in zip(ROOTS, PIECES, strict=True)}
ASKED: list[Leaf] = [(ROOTS[0], 0), (ROOTS[1], 1), (ROOTS[2], 3), (ROOTS[3], 4), (ROOTS[2], 3)]


def shown(leaf: Leaf) -> Answer:
    root, place = leaf
    leaves = merkle.leaves_of(PIECES[ROOTS.index(root)])
    path = merkle.path_of(place, [merkle.leaf_hash(each) for each in leaves])
    return Answer(audit.OK, leaves[place], tuple(path))


HONEST = [shown(leaf) for leaf in ASKED]
RELEASE = b'{"kind":"release"}'


def flipped(data: bytes, at: int = 0) -> bytes:
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


def request_hash(asked: Sequence[Leaf] = ASKED, batch: Batch = BATCH) -> bytes:
    return audit.request_hash(batch, audit.request(batch, asked))


def response(answers: Sequence[Answer], asked: Sequence[Leaf] = ASKED) -> bytes:
    return audit.response(request_hash(asked), answers, BATCH.miner)


def case(name: str, outcome: str, body: bytes, asked: Sequence[Leaf] = ASKED, **more: Any) -> dict[str, Any]:
    found = {"name": name, "outcome": outcome, "body": body.hex()}
    if asked is not ASKED:
        found["request"] = audit.request(BATCH, asked).hex()
    return {**found, **more}


def judged(
    name: str, answers: Sequence[Answer], verdicts: Sequence[int], asked: Sequence[Leaf] = ASKED, **more: Any
) -> dict[str, Any]:
    return case(name, "verdicts", response(answers, asked), asked, verdicts=list(verdicts), **more)


def true_answers() -> list[dict[str, Any]]:
    silent = [Answer(audit.LOST), Answer(audit.RELEASED, RELEASE), Answer(audit.NEVER_RECEIVED)]
    kept: dict[str, Any] = {"evidence": audit.evidence(request_hash(), HONEST).hex()}
    mixed = [*silent, *HONEST[3:]]
    return [
        judged("every leaf is shown", HONEST, [0, 0, 0, 0, 0], **kept),
        judged("one leaf", HONEST[:1], [0], ASKED[:1]),
        judged("lost, released and never received", mixed, [1, 2, 3, 0, 0]),
    ]


def one_byte_leaves() -> tuple[Leaf, int, Answer]:
    """A tree made up over leaves of one byte, under a root that says two whole ones."""
    hashes = [merkle.leaf_hash(b"a"), merkle.leaf_hash(b"b")]
    root = merkle.root_over(merkle.top_of(hashes), 32_768)
    return (root, 1), 32_768, Answer(audit.OK, b"b", (hashes[0],))


def wrong_answers() -> list[dict[str, Any]]:
    leaf = HONEST[2]
    one, two = leaf.siblings
    altered = {
        "a bit of a leaf is flipped": replace(leaf, data=flipped(leaf.data)),
        "a bit of a sibling is flipped": replace(leaf, siblings=(flipped(one, 31), two)),
        "siblings in another order": replace(leaf, siblings=(two, one)),
        "a path without its end": replace(leaf, siblings=(one,)),
        "a path without its beginning": replace(leaf, siblings=(two,)),
        "a path without siblings": replace(leaf, siblings=()),
        "a path with one sibling more": replace(leaf, siblings=(one, two, one)),
        "a node in place of a leaf": Answer(audit.OK, one + merkle.leaf_hash(leaf.data), (two,)),
        "a byte behind a leaf": replace(leaf, data=leaf.data + b"\0"),
    }
    made_up, made_up_length, short = one_byte_leaves()
    whole = {made_up[0].hex(): made_up_length}
    longer = {ROOTS[1].hex(): 16_386}
    return [
        *(judged(name, [answer], [4], ASKED[2:3]) for name, answer in altered.items()),
        judged("the leaf at another index", [leaf], [4], [(ROOTS[2], 2)]),
        judged("the leaf of another piece", [leaf], [4], [(ROOTS[3], 3)]),
        judged("entries in another order", [HONEST[1], HONEST[0], *HONEST[2:]], [4, 4, 0, 0, 0]),
        judged("an entry shown twice, another not", [*HONEST[:3], HONEST[2], HONEST[4]], [0, 0, 0, 4, 0]),
        judged("a leaf of one byte where there are 16,384", [short], [4], [made_up], lengths=whole),
        judged("a length that is not the root's", [HONEST[1]], [4], [ASKED[1]], lengths=longer),
    ]


def malformed_answers() -> list[dict[str, Any]]:
    two = ASKED[:2]
    good = response(HONEST[:2], two)
    first = {
        "status 4": Answer(4),
        "a leaf without bytes": Answer(audit.OK),
        "a loss with bytes": Answer(audit.LOST, b"a"),
        "a loss with a path": Answer(audit.LOST, b"", (bytes(32),)),
        "a release without bytes": Answer(audit.RELEASED),
        "a release with a path": Answer(audit.RELEASED, RELEASE, (bytes(32),)),
        "never received, with bytes": Answer(audit.NEVER_RECEIVED, b"a"),
    }
    return [
        *(
            case(name, "protocol", response([answer, HONEST[1]], ASKED[:2]), ASKED[:2])
            for name, answer in first.items()
        ),
        case("fewer entries", "protocol", response(HONEST[:4])),
        case("more entries", "protocol", response([*HONEST, HONEST[0]])),
        case("another magic", "protocol", b"HPA1" + good[4:]),
        case("a byte behind it", "protocol", good + b"\0"),
        case("without its last byte", "protocol", good[:-1]),
        case("without its signature", "protocol", good[:-64]),
        case("empty", "protocol", b""),
    ]


def foreign_answers() -> list[dict[str, Any]]:
    leaf = ASKED[:1]
    good = response(HONEST[:1], leaf)
    others = {
        "network": replace(BATCH, network=named("other")),
        "netuid": replace(BATCH, netuid=4),
        "validator": replace(BATCH, validator=named("other")),
        "miner": replace(BATCH, miner=named("other")),
        "epoch": replace(BATCH, epoch=8),
        "batch": replace(BATCH, number=3),
        "round": replace(BATCH, round=1_043),
        "attempt": replace(BATCH, attempt=1),
    }
    replays = {
        what: audit.response(request_hash(leaf, batch), HONEST[:1], BATCH.miner) for what, batch in others.items()
    }
    return [
        *(case(f"replayed from another {what}", "integrity", body, leaf) for what, body in replays.items()),
        case("replayed from other leaves", "integrity", response(HONEST[:1], ASKED[1:2]), leaf),
        case("another response hash", "integrity", good[:-96] + flipped(good[-96:]), leaf),
        case("a bit of the signature is flipped", "integrity", flipped(good, len(good) - 1), leaf),
        case("signed by another", "integrity", audit.response(request_hash(leaf), HONEST[:1], named("other")), leaf),
        case("a leaf changed after it was signed", "integrity", flipped(good, 4 + 32 + 3), leaf),
    ]


def derivation(name: str, batch: Batch, pieces: dict[bytes, int], count: int) -> dict[str, Any]:
    leaves = audit.drawn_leaves(batch, pieces, count)
    body = audit.request(batch, leaves)
    return {
        "name": name,
        "epoch_secret": batch.epoch_secret.hex(),
        "beacon": batch.beacon.hex(),
        "epoch": batch.epoch,
        "batch": batch.number,
        "round": batch.round,
        "attempt": batch.attempt,
        "pieces": {root.hex(): length for root, length in pieces.items()},
        "count": count,
        "seed_commit": audit.seed_commit(batch.epoch_secret).hex(),
        "round_of_1000_to_1099_margin_8": audit.batch_round(batch, 1_000, 100, 8),
        "token": audit.token(batch).hex(),
        "seed": audit.seed(batch).hex(),
        "numbers": audit.numbers(batch, count, len(audit.all_leaves(pieces))),
        "request": body.hex(),
        "request_hash": audit.request_hash(batch, body).hex(),
    }


def derivations() -> list[dict[str, Any]]:
    wide = {named(f"root {i}"): 4_194_304 - 5_000 * i for i in range(12)}
    last = replace(BATCH, epoch=2**64 - 1, number=2**32 - 1, round=2**64 - 1, attempt=255)
    return [
        derivation("the pieces of the responses", BATCH, LENGTHS, 5),
        derivation("many pieces", BATCH, wide, 20),
        derivation("asked again", replace(BATCH, attempt=1), LENGTHS, 3),
        derivation("one leaf is asked for again and again", BATCH, {ROOTS[0]: 1}, 4),
        derivation("the largest numbers", last, LENGTHS, 1),
    ]


def rounds() -> list[dict[str, Any]]:
    """The rounds of batches 0 to 3 of BATCH's secret and miner, in epochs that begin with round 1,000."""
    batches = [replace(BATCH, number=number) for number in range(4)]

    def epoch(count: int, margin: int, outcome: str, **more: Any) -> dict[str, Any]:
        return {"name": f"{count}, margin {margin}", "outcome": outcome, "rounds": count, "margin": margin, **more}

    return [
        *(
            epoch(count, margin, "rounds", drawn=[audit.batch_round(batch, 1_000, count, margin) for batch in batches])
            for count, margin in [(100, 8), (100, 99), (100, 1), (3, 1), (2, 1)]
        ),
        *(epoch(count, margin, "usage") for count, margin in [(100, 0), (100, 100), (1, 0), (1, 1), (0, 0)]),
    ]


def transcripts() -> list[dict[str, Any]]:
    scope = audit.transcript_scope(BATCH.network, BATCH.netuid, BATCH.validator, BATCH.epoch)
    answered = Entry(
        epoch=7, miner=BATCH.miner, batch=2, round=1_042, attempt=0, time=1_795_000_000, outcome=audit.PASS,
        request_hash=named("request 2"), response_hash=named("response hash"), signature=named("signature", 64),
        verdicts=(0, 0, 0),
    )  # fmt: skip
    void = (1, 0, named("release"))
    asked = answered.but(response_hash=bytes(32), signature=bytes(64), verdicts=())
    silent = asked.but(batch=5, outcome=audit.SILENT, request_hash=named("request 5"))
    again = silent.but(attempt=1, request_hash=named("request 5, attempt 1"))
    never = Entry(7, BATCH.miner, 9, 1_077, 0, 1_795_000_600, audit.UNKNOWN)
    good = [
        answered,
        answered.but(batch=3, outcome=audit.FAIL, verdicts=(0, 4, 1), request_hash=named("request 3")),
        answered.but(batch=4, verdicts=(0, 1, 0), voids=(void,), request_hash=named("request 4")),
        silent,
        again.but(outcome=audit.FAIL),
        asked.but(
            batch=6, epoch=6, attempt=2, outcome=audit.OFFLINE, request_hash=named("request 6"),
            voids=((63, 1, named("report")),),
        ),
        never,
    ]  # fmt: skip
    wrong = {
        "a pass with a wrong entry": answered.but(verdicts=(0, 4, 0)),
        "a pass without a response": asked,
        "a fail whose entries are all ok": answered.but(outcome=audit.FAIL),
        "a fail whose bad entry is void": answered.but(outcome=audit.FAIL, verdicts=(0, 4, 0), voids=(void,)),
        "silence with a response": answered.but(outcome=audit.SILENT),
        "verdicts without a response hash": answered.but(response_hash=bytes(32)),
        "a response hash without verdicts": asked.but(outcome=audit.SILENT, response_hash=named("response hash")),
        "silence without a request": asked.but(outcome=audit.SILENT, request_hash=bytes(32)),
        "voids without a request": never.but(voids=(void,)),
        "a void beyond the entries": answered.but(voids=((3, 0, named("release")),)),
        "an entry void twice": answered.but(voids=(void, void)),
        "outcome 5": asked.but(outcome=5),
        "verdict 5": answered.but(outcome=audit.FAIL, verdicts=(5,)),
        "reason 2": answered.but(voids=((1, 2, named("release")),)),
        "an epoch to come": asked.but(outcome=audit.SILENT, epoch=8),
    }
    broken = {name: audit.transcript(scope, [entry]) for name, entry in wrong.items()}
    broken |= {
        "one attempt twice": audit.transcript(scope, [never, never]),
        "attempts that descend": audit.transcript(scope, [again, silent]),
        "a batch in two rounds": audit.transcript(scope, [silent, again.but(round=1_043)]),
        "asked again after its pass": audit.transcript(scope, [answered.but(batch=5), again]),
        "asked again after its fail": audit.transcript(scope, [silent.but(outcome=audit.FAIL), again]),
        "one request at two attempts": audit.transcript(scope, [silent, silent.but(attempt=1)]),
        "one request for two batches": audit.transcript(scope, [silent, silent.but(batch=6)]),
        "a byte behind it": audit.transcript(scope, [never]) + b"\0",
    }
    return [
        {"name": "empty", "outcome": "root", "file": audit.transcript(scope, []).hex(),
         "root": audit.transcript_root(scope, []).hex()},
        {"name": "every outcome", "outcome": "root", "file": audit.transcript(scope, good).hex(),
         "root": audit.transcript_root(scope, good).hex()},
        *({"name": name, "outcome": "protocol", "file": file.hex()} for name, file in broken.items()),
    ]  # fmt: skip


def vectors() -> dict[str, Any]:
    """Everything the file holds."""
    return {
        "about": ABOUT,
        "scope": {
            "network": BATCH.network.hex(),
            "netuid": BATCH.netuid,
            "validator": BATCH.validator.hex(),
            "miner": BATCH.miner.hex(),
            "epoch_secret": BATCH.epoch_secret.hex(),
        },
        "request": audit.request(BATCH, ASKED).hex(),
        "lengths": {root.hex(): length for root, length in LENGTHS.items()},
        "derivations": derivations(),
        "rounds": rounds(),
        "responses": [*true_answers(), *wrong_answers(), *malformed_answers(), *foreign_answers()],
        "transcripts": transcripts(),
    }


def text() -> str:
    """The file's text."""
    return json.dumps(vectors(), indent=1) + "\n"


if __name__ == "__main__":
    FILE.write_text(text())
