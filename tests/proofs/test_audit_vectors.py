"""The frozen vectors of audits have the outcome they name, and the slow reference still makes them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from hippy.errors import IntegrityError, ProtocolError, UsageError
from hippy.ids import NetworkId, PublicKey, Root
from hippy.proofs.challenge import batch_round, batch_token, challenge_seed, draw, draw_request, seed_commit
from hippy.proofs.evidence import encode_evidence, parse_evidence
from hippy.proofs.inventory import Inventory
from hippy.proofs.request import Scope, encode_request, parse_request, request_hash
from hippy.proofs.transcript import check_transcript, encode_transcript, parse_transcript
from hippy.proofs.verify import judge, verify_response
from tests.proofs.audit_world import signed_by
from tests.vectors import make_audit

VECTORS: dict[str, Any] = json.loads(Path(make_audit.__file__).with_name("audit.json").read_text())
SCOPE = Scope(
    NetworkId(bytes.fromhex(VECTORS["scope"]["network"])),
    VECTORS["scope"]["netuid"],
    PublicKey(bytes.fromhex(VECTORS["scope"]["validator"])),
    PublicKey(bytes.fromhex(VECTORS["scope"]["miner"])),
)


def cases(kind: str) -> list[Any]:
    return [pytest.param(case, id=case["name"]) for case in VECTORS[kind]]


def lengths_of(spelled: dict[str, int]) -> dict[Root, int]:
    return {Root(bytes.fromhex(root)): length for root, length in spelled.items()}


def test_the_reference_makes_the_frozen_vectors() -> None:
    assert make_audit.FILE.read_text() == make_audit.text()


def test_the_file_stays_small() -> None:
    assert make_audit.FILE.stat().st_size < 64_000


@pytest.mark.parametrize("case", cases("derivations"))
def test_derivations_are_the_frozen_ones(case: dict[str, Any]) -> None:
    secret, beacon = bytes.fromhex(case["epoch_secret"]), bytes.fromhex(case["beacon"])
    epoch, batch, miner = case["epoch"], case["batch"], SCOPE.miner
    inventory = Inventory(lengths_of(case["pieces"]).items())
    token = batch_token(secret, miner, batch)
    seed = challenge_seed(token, beacon, SCOPE.validator, miner, epoch, batch)
    assert seed_commit(secret).hex() == case["seed_commit"]
    assert batch_round(secret, miner, batch, 1_000, 100, 8) == case["round_of_1000_to_1099_margin_8"]
    assert token.hex() == case["token"]
    assert seed.hex() == case["seed"]
    assert list(draw(seed, case["count"], inventory.total_leaves)) == case["numbers"]
    request = draw_request(
        secret,
        beacon,
        validator=SCOPE.validator,
        miner=miner,
        epoch=epoch,
        batch=batch,
        beacon_round=case["round"],
        attempt=case["attempt"],
        inventory=inventory,
        count=case["count"],
    )
    body = encode_request(request)
    assert body.hex() == case["request"]
    assert request_hash(SCOPE, body).hex() == case["request_hash"]


@pytest.mark.parametrize("case", cases("rounds"))
def test_rounds_are_the_frozen_ones(case: dict[str, Any]) -> None:
    """Epochs that begin with round 1,000."""
    secret = bytes.fromhex(VECTORS["scope"]["epoch_secret"])
    epoch = (1_000, case["rounds"], case["margin"])
    if case["outcome"] == "rounds":
        assert [batch_round(secret, SCOPE.miner, batch, *epoch) for batch in range(4)] == case["drawn"]
        assert all(1_000 < at < 1_000 + case["rounds"] for at in case["drawn"])
    else:
        assert case["outcome"] == "usage"
        with pytest.raises(UsageError):
            batch_round(secret, SCOPE.miner, 0, *epoch)


@pytest.mark.parametrize("case", cases("responses"))
def test_responses_have_the_outcome_they_name(case: dict[str, Any]) -> None:
    request = parse_request(bytes.fromhex(case.get("request", VECTORS["request"])))
    lengths = lengths_of(VECTORS["lengths"] | case.get("lengths", {}))
    body = bytes.fromhex(case["body"])
    match case["outcome"]:
        case "verdicts":
            found = verify_response(request, SCOPE, lengths, body, signed_by)
            assert list(found.verdicts) == case["verdicts"]
            assert judge(request, lengths, found.evidence) == found.verdicts
            kept = encode_evidence(found.evidence)
            assert kept.hex() == case.get("evidence", kept.hex())
            assert parse_evidence(kept) == found.evidence
        case "protocol":
            with pytest.raises(ProtocolError):
                verify_response(request, SCOPE, lengths, body, signed_by)
        case "integrity":
            with pytest.raises(IntegrityError):
                verify_response(request, SCOPE, lengths, body, signed_by)
        case other:
            pytest.fail(f"no outcome {other}")


@pytest.mark.parametrize("case", cases("transcripts"))
def test_transcripts_have_the_outcome_they_name(case: dict[str, Any]) -> None:
    file = bytes.fromhex(case["file"])
    if case["outcome"] == "root":
        transcript = parse_transcript(file)
        check_transcript(transcript, bytes.fromhex(case["root"]))
        assert encode_transcript(transcript) == file
    else:
        assert case["outcome"] == "protocol"
        with pytest.raises(ProtocolError):
            parse_transcript(file)
