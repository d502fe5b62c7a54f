"""What a request that is refused by its head, or for its address, costs a real node: nothing that was counted."""

from __future__ import annotations

from pathlib import Path

import pytest

from hippy.endpoint import Endpoint
from hippy.miner.server import build_miner
from hippy.proofs.tree import root_of
from hippy.transport.client import Call
from hippy.transport.limits import Rate, ServerLimits
from hippy.transport.server import serving
from hippy.wire.btauth import SIGNATURE_HEADER, SignedRequest, sign_request
from hippy.wire.segment import ALLOCATE_BYTES_MAX
from hippy.wire.ticket import TICKET_HEADER
from tests.fuzz.hostile import DATA, GOOD, head, miner_guards, post, signed, total, untouched, validator_guards
from tests.miner.world import ACCOUNT, MINER, grant, make_world, ticket
from tests.transport.streams import line
from tests.validator import network as validators


async def test_what_a_head_shows_to_be_refused_costs_a_miner_no_signature_store_or_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    guards = miner_guards(monkeypatch)
    async with untouched(tmp_path) as miner:
        proof, before = miner.proof(DATA), total(guards)
        assert before > 3  # an honest upload is seen by them
        for extra in (
            {SIGNATURE_HEADER: "", "Content-Length": str(len(DATA))},  # unsigned
            {"Content-Length": str(2**23)},  # too large
            {"Content-Length": str(2**23), "Expect": "100-continue"},
            {"X-Hippy-Ticket": "x" * 8_000, "Content-Length": str(len(DATA))},
        ):
            answer = await miner.raw_put(proof, extra)
            assert answer.split(b" ")[1] in (b"401", b"413"), extra
        for method, target in (("PUT", "/v1/none"), ("DELETE", "/v1/pieces/x")):
            assert (await miner.http.request(miner.peer, Call(method, target))).status in (404, 405)
        assert total(guards) == before


async def test_what_a_head_shows_to_be_refused_costs_a_validator_no_signature_and_no_database(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    guards = validator_guards(monkeypatch)
    async with validators.local_network(tmp_path, miners=0) as network, network.validator() as client:
        await client.send("/v1/buckets", GOOD)
        before, sender = total(guards), signed("/v1/allocate", b"")
        assert before > 1
        for path, headers, status in (
            ("/v1/allocate", {"Content-Length": "1000"}, 401),
            ("/v1/allocate", {"Content-Length": "1000", "Expect": "100-continue"}, 401),
            ("/v1/allocate", {**sender, "Content-Length": str(ALLOCATE_BYTES_MAX + 1)}, 413),
            ("/v1/objects", {**sender, "Content-Length": str(2**26), "Expect": "100-continue"}, 413),
            ("/v1/none", {**sender, "Content-Length": "1000"}, 404),
        ):
            async with line(client.validator.endpoint) as stranger:
                stranger.say(head("POST", path, headers))
                assert (await stranger.hear())[0] == status
        assert total(guards) == before


BURST = 8
SPENT = ServerLimits(loopback_has_budgets=True, requests=Rate(1e-6, BURST), anonymous=Rate(1e-6, BURST))
"""An address has so many requests, and then none for days."""

SPENDER = "127.66.6.6"


async def spend(endpoint: Endpoint) -> None:
    """Use up what SPENDER has, with requests that are answered."""
    async with line(endpoint, source=SPENDER) as spender:
        for _ in range(BURST):
            spender.say(head("GET", f"/v1/hello?nonce={'ab' * 32}", {}))
            assert (await spender.hear())[0] == 200
        spender.say(head("GET", "/v1/hello", {}))
        assert await spender.code() == (429, "rate_limited")


async def over_budget(endpoint: Endpoint, requests: list[bytes]) -> None:
    """Send each request on a connection of its own and on one that is kept."""
    for request in requests:
        async with line(endpoint, source=SPENDER) as spender:
            spender.say(request)
            assert await spender.code() == (429, "rate_limited"), request[:80]
    async with line(endpoint, source=SPENDER) as spender:
        for request in (each for each in requests if b"Expect" not in each):
            spender.say(request)
            assert await spender.code() == (429, "rate_limited"), request[:80]


async def test_a_request_over_budget_costs_a_miner_no_signature_store_or_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    guards = miner_guards(monkeypatch)
    async with make_world(tmp_path) as world, world.store() as store:
        app = build_miner(MINER, world.chain, store, world.clock, body_bytes_in_flight_max=2**26)
        async with serving(app, "127.0.0.1", 0, allowed=SPENT) as endpoint:
            target, asked_ns = f"/v1/pieces/{root_of(DATA).hex()}", int(world.clock.now() * 1e9)
            put = SignedRequest("PUT", target, b"")
            told = {
                **sign_request(ACCOUNT, put, receiver=MINER.public_key, now_ns=asked_ns),
                TICKET_HEADER: grant(ticket(DATA, world.clock), world.clock).encode().decode(),
                "Content-Length": str(len(DATA)),
            }
            await spend(endpoint)
            before = total(guards)
            await over_budget(
                endpoint,
                [
                    head("PUT", target, told) + DATA,
                    head("PUT", target, {**told, "Expect": "100-continue"}),
                    head("GET", target, {}),
                    head("GET", f"{target}?offset=0&length=1&proof=1", {}),
                    head("POST", "/v1/audit", {**told, "Content-Length": "2"}) + b"{}",
                    head("GET", "/v1/none", {}),
                ],
            )
            assert total(guards) == before
            async with line(endpoint) as honest:  # the control: an address that has a budget stores it
                honest.say(head("PUT", target, told) + DATA)
                assert (await honest.hear())[0] == 200
            assert total(guards) > before + 3


async def test_a_request_over_budget_costs_a_validator_no_signature_and_no_database(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    guards = validator_guards(monkeypatch)
    monkeypatch.setattr("hippy.transport.granting.ServerLimits", lambda: SPENT)
    async with validators.local_network(tmp_path, miners=0) as network, network.validator() as client:
        endpoint, sent = client.validator.endpoint, post("/v1/buckets", GOOD, signed("/v1/buckets", GOOD))
        await spend(endpoint)
        before = total(guards)
        await over_budget(
            endpoint,
            [
                sent,
                post("/v1/allocate", GOOD, signed("/v1/allocate", GOOD)),
                head("POST", "/v1/objects", {"Content-Length": "1000", "Expect": "100-continue"}),
                *(head("GET", path, {}) for path in ("/v1/account", "/v1/log?after=0", "/v1/epochs", "/v1/none")),
            ],
        )
        assert total(guards) == before
        async with line(endpoint) as honest:
            honest.say(sent)
            assert (await honest.hear())[0] == 200
        assert total(guards) > before + 1
