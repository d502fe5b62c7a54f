"""Every endpoint of a real miner and a real validator under fuzzed requests: no 5xx, no growth, not a word in the log.

``make test`` sends a few thousand; ``make soak`` a million, half to each node, both at once, each from a process of
its own::

    python -m tests.fuzz.test_endpoints miner 127.0.0.1 4000 500000 SEED     # what it starts
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
import uvloop

from hippy.endpoint import Endpoint
from hippy.ids import Root
from hippy.proofs.tree import root_of
from hippy.transport.client import Call, Peer, open_http
from tests.fuzz import node
from tests.fuzz.node import CLOCK, STORED, Node, running
from tests.fuzz.requests import Requests, Target, fire, samples
from tests.miner import world as miners
from tests.validator import network as validators

FEW, WARM_UP = 1_200, 800
MANY, MANY_WARM_UP = 500_000, 20_000
BATCH = 20_000
"""From one process of a sender: then it tells how things are, and another begins."""

SAMPLE_SECONDS = float(os.environ.get("HIPPY_FUZZ_SECONDS", "inf"))
GROWTH_BYTES_MAX = 24 * 1024 * 1024
"""Buffers, caches and arenas breathe; what leaks a kilobyte for each of half a million requests grows by 500 MiB."""

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="memory is read from /proc")


def now_ns() -> int:
    return int(CLOCK.now() * 1e9)


def miner_target() -> Target:
    root, elsewhere = root_of(STORED).hex(), Root(b"e" * 32)
    pieces = [STORED[:length] for length in (1, 100, 500, 2_000, 5_000, 16_384, len(STORED))]
    return Target(
        receiver=miners.MINER.public_key,
        signer=miners.ACCOUNT,
        routes=[
            ("GET", f"/v1/hello?nonce={'ab' * 32}", ()),
            ("GET", f"/v1/pieces/{root}?offset=0&length=100&proof=1", ()),
            ("GET", f"/v1/pieces/{elsewhere.hex()}", ()),
            ("PUT", f"/v1/pieces/{elsewhere.hex()}", pieces),
            ("POST", "/v1/audit", samples("audit request")),
        ],
        now_ns=now_ns,
        headers={"X-Hippy-Ticket": [node.granted_elsewhere(elsewhere)]},
    )


def validator_target() -> Target:
    return Target(
        receiver=validators.VALIDATOR.public_key,
        signer=validators.ACCOUNT,
        routes=[
            ("GET", f"/v1/hello?nonce={'ab' * 32}", ()),
            ("POST", "/v1/allocate", samples("allocate")),
            ("POST", "/v1/reallocate", samples("reallocate")),
            ("POST", "/v1/commit", samples("commit")),
            ("POST", "/v1/objects", samples("objects-write, with parts")),
            ("POST", "/v1/objects/read", samples("objects-read")),
            ("POST", "/v1/objects/list", samples("objects-list")),
            ("POST", "/v1/buckets", samples("buckets-list")),
            ("POST", "/v1/buckets/write", samples("bucket-write")),
            ("POST", "/v1/segments", samples("segments-request")),
            ("POST", "/v1/inventory", samples("inventory")),
            ("POST", "/v1/leases", samples("lease")),
            ("POST", "/v1/lost", samples("lost-report")),
            ("GET", "/v1/account", ()),
            ("GET", "/v1/miners", ()),
            ("GET", f"/v1/miners/{'ab' * 32}", ()),
            ("GET", "/v1/attestations", ()),
            ("GET", "/v1/log?after=0", ()),
            ("GET", "/v1/epochs", ()),
            ("GET", "/v1/epochs/1/header", ()),
            ("GET", "/v1/epochs/1/transcript", ()),
            ("GET", "/v1/epochs/1/sheet", ()),
            ("GET", "/v1/epochs/1/evidence?after=3", ()),
        ],
        now_ns=now_ns,
    )


TARGETS = {"miner": miner_target, "validator": validator_target}


async def stored_in(running_node: Node, kind: str) -> object:
    """Return what a node keeps, as far as strangers could have added to it."""
    if kind == "miner":
        return running_node.files()
    async with open_http(validators.ACCOUNT, CLOCK) as http:
        peer = Peer(running_node.endpoint, validators.VALIDATOR.public_key)
        return await http.bytes(peer, Call("GET", "/v1/account"))


@pytest.mark.e2e
@pytest.mark.parametrize("kind", TARGETS)
async def test_fuzzed_requests_get_no_5xx_store_nothing_and_leave_no_word(kind: str, tmp_path: Path) -> None:
    with running(kind, tmp_path) as under_fire:
        before = await stored_in(under_fire, kind)
        requests = Requests(TARGETS[kind](), seed=7)
        await fire(under_fire.endpoint, requests, WARM_UP)
        rss_bytes = under_fire.rss_bytes()
        outcome = await fire(under_fire.endpoint, requests, FEW)
        assert outcome.bad() == {}
        assert {400, 401, 404} <= set(outcome.statuses)
        assert outcome.statuses.total() > 0.9 * FEW
        assert await stored_in(under_fire, kind) == before
        assert under_fire.rss_bytes() - rss_bytes < GROWTH_BYTES_MAX
        assert "rror" not in under_fire.log()


@pytest.mark.slow
@pytest.mark.timeout(2 * 3600)
async def test_a_million_fuzzed_requests_get_no_5xx_and_no_memory(tmp_path: Path) -> None:
    """Half to each node, both at once; HIPPY_FUZZ_SECONDS makes it a sample that ends after so long."""
    seed = time.time_ns() % 2**32
    reports = await asyncio.gather(*(_soak(kind, tmp_path / kind, seed) for kind in TARGETS))
    assert [report for report in reports if report] == []


async def _soak(kind: str, folder: Path, seed: int) -> list[str]:
    """Send MANY requests to a node and return what is wrong with it."""
    folder.mkdir()
    with running(kind, folder) as under_fire:
        before = await stored_in(under_fire, kind)
        await _fire_from_a_process(kind, under_fire, MANY_WARM_UP, seed)
        rss_bytes, began = under_fire.rss_bytes(), time.monotonic()
        statuses, is_over = Counter[int](), False
        while not is_over:
            count = min(BATCH, MANY - statuses.total())
            statuses += await _fire_from_a_process(kind, under_fire, count, seed + 1 + statuses.total())
            took_seconds, grown = time.monotonic() - began, under_fire.rss_bytes() - rss_bytes
            is_over = statuses.total() >= MANY or took_seconds > SAMPLE_SECONDS
            print(
                f"\n{kind}: seed {seed}, {statuses.total():,} answers in {took_seconds:.0f} s, "
                f"{statuses.total() / took_seconds:,.0f} a second, memory {rss_bytes / 2**20:.1f} MiB and then "
                f"{grown / 2**20:+.1f} MiB, {dict(sorted(statuses.items()))}",
                flush=True,
            )
        wrong = [f"status {each}" for each in statuses if each >= 500 and each not in (503, 507)]
        if await stored_in(under_fire, kind) != before:
            wrong.append("something was stored")
        if grown >= GROWTH_BYTES_MAX:
            wrong.append(f"memory grew by {grown} bytes")
        if "rror" in under_fire.log():
            wrong.append(under_fire.log()[:2_000])
        return [f"{kind}: {each}" for each in wrong]


async def _fire_from_a_process(kind: str, under_fire: Node, count: int, seed: int) -> Counter[int]:
    """Return the answers to ``count`` requests, or a few more."""
    endpoint = under_fire.endpoint
    command = ["-m", __name__, kind, endpoint.host, str(endpoint.port), str(count), str(seed)]
    process = await asyncio.create_subprocess_exec(
        sys.executable, *command, cwd=node.ROOT, stdout=asyncio.subprocess.PIPE
    )
    told, _ = await process.communicate()
    statuses = Counter({int(status): found for status, found in json.loads(told).items()})
    assert statuses, "nothing is answered"
    return statuses


def _main() -> None:
    kind, host, port, count, seed = sys.argv[1:]
    requests = Requests(TARGETS[kind](), int(seed))
    outcome = uvloop.run(fire(Endpoint(host, int(port)), requests, int(count)))
    print(json.dumps(outcome.statuses))


if __name__ == "__main__":
    _main()
