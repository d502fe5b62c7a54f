"""Asking miners for leaves: good ones, dead ones and liars."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from hippy.client.checking import verdict_of
from hippy.client.progress import SilentProgress
from hippy.client.sdk import AsyncClient
from hippy.errors import NotFoundError, UnreachableError
from hippy.proofs.tree import LEAF_BYTES
from hippy.transport.client import Call, Peer
from hippy.wire.segment import SegmentsAnswer
from tests.client.network import Miner, Network, lying_validator

DATA = random.Random(4).randbytes(600_000)


class Heard(SilentProgress):
    """Adds up what it hears."""

    def __init__(self) -> None:
        self.expected = self.done = 0

    def total(self, total_bytes: int | None) -> None:
        self.expected = total_bytes or 0

    def advance(self, moved_bytes: int) -> None:
        self.done += moved_bytes


@pytest.fixture
async def client(network: Network) -> AsyncIterator[AsyncClient]:
    async with AsyncClient.open(network.credentials) as opened:
        await opened.put(DATA, "hippy://check/big")
        yield opened


async def holders(client: AsyncClient, network: Network) -> list[Miner]:
    place, _ = client._object("hippy://check/big")
    found = await client._rows.read_one(place, "it")
    (record,) = (await client._session.api.segments(found.row.segment_ids)).values()
    keys = {holding.miner for holding in record.holdings}  # type: ignore[union-attr]
    return [miner for miner in network.miners if miner.identity.public_key in keys]


async def test_pieces_that_are_all_there_are_full(client: AsyncClient) -> None:
    (health,) = (await client.check("hippy://check/big")).objects
    assert (health.uri, health.verdict, health.ok, health.missing, health.bad) == (
        "hippy://check/big",
        "full",
        8,
        0,
        0,
    )


async def test_objects_in_their_manifests_have_no_pieces(client: AsyncClient) -> None:
    await client.put(b"short", "hippy://check/inline")
    (health,) = (await client.check("hippy://check/inline")).objects
    assert (health.verdict, health.ok) == ("full", 0)


async def test_pieces_of_dead_miners_are_missing(network: Network) -> None:
    async with AsyncClient.open(network.credentials) as client:
        await client.put(DATA, "hippy://check/big")
        bad = await holders(client, network)
        for killed, verdict in ((1, "repairable"), (3, "at_risk"), (5, "lost")):
            network.kill(*[miner for miner in bad[:killed] if miner.task is not None])
            async with AsyncClient.open(network.credentials) as fresh:
                (health,) = (await fresh.check("hippy://check/big")).objects
            assert (health.verdict, health.ok, health.missing) == (verdict, 8 - killed, killed)


async def test_bytes_that_lead_to_no_root_are_bad(client: AsyncClient, network: Network) -> None:
    (await holders(client, network))[0].corrupts = True
    (health,) = (await client.check("hippy://check/big")).objects
    assert (health.verdict, health.ok, health.missing, health.bad) == ("repairable", 7, 0, 1)


@pytest.mark.parametrize("lie", ["another byte", "another leaf"])
async def test_a_leaf_that_does_not_lead_to_the_root_is_bad(
    client: AsyncClient, monkeypatch: pytest.MonkeyPatch, lie: str
) -> None:
    http = client._session.http
    honest = http.bytes

    async def altered(peer: Peer, call: Call) -> bytes:
        if "/pieces/" not in call.target:
            return await honest(peer, call)
        if lie == "another leaf":  # a true one, but not the one that was asked for
            root, _, query = call.target.partition("?offset=")
            leaf = int(query.partition("&")[0]) // LEAF_BYTES
            call = replace(call, target=f"{root}?offset={(leaf + 1) % 9 * LEAF_BYTES}&length=1&proof=1")
        body = await honest(peer, call)
        return body[:-1] + bytes([body[-1] ^ 1]) if lie == "another byte" else body

    monkeypatch.setattr(http, "bytes", altered)
    (health,) = (await client.check("hippy://check/big")).objects
    assert (health.verdict, health.ok, health.missing, health.bad) == ("lost", 0, 0, 8)


async def test_a_tree_is_checked_with_shared_segments_once(network: Network) -> None:
    heard = Heard()
    async with AsyncClient.open(network.credentials, progress=heard) as client:
        await client.put(DATA, "hippy://check-tree/a/big")
        await client.copy("hippy://check-tree/a/big", "hippy://check-tree/b/big")
        await client.put(b"short", "hippy://check-tree/c")
        heard.done = 0
        result = await client.check("hippy://check-tree/", recursive=True)
    assert (result.segments, [health.verdict for health in result.objects]) == (1, ["full"] * 3)
    assert heard.done == heard.expected == 2 * len(DATA) + 5
    with pytest.raises(NotFoundError):
        async with AsyncClient.open(network.credentials) as client:
            await client.check("hippy://check-tree/nothing", recursive=True)


def without_records(body: bytes) -> bytes:
    return SegmentsAnswer.parse(body).model_copy(update={"segments": ()}).encode()


async def test_a_segment_without_a_record_is_lost(client: AsyncClient, network: Network) -> None:
    async with (
        lying_validator(
            network.credentials, lambda path, body: without_records(body) if path == "/v1/segments" else body
        ) as credentials,
        AsyncClient.open(credentials) as deceived,
    ):
        (health,) = (await deceived.check("hippy://check/big")).objects
    assert health.verdict == "lost"


@pytest.mark.parametrize(
    ("ok", "verdict"),
    [(24, "full"), (23, "repairable"), (19, "repairable"), (18, "at_risk"), (10, "at_risk"), (9, "lost")],
)
def test_verdicts_follow_the_repair_threshold(ok: int, verdict: str) -> None:
    assert verdict_of(ok, 10, 24) == verdict


async def test_a_validator_that_is_away_makes_no_piece_missing(
    network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away() -> None:
        raise UnreachableError("away")

    async with AsyncClient.open(network.credentials) as client:
        await client.put(DATA, "hippy://check/away")
    async with AsyncClient.open(network.credentials) as fresh:
        monkeypatch.setattr(fresh._session.api, "directory", away)
        with pytest.raises(UnreachableError):
            await fresh.check("hippy://check/away")
