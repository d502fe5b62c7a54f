"""The validator as a process would run it: over HTTP, on a local chain, with miners that greet and sign."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from hippy.chain.local import open_local_chain
from hippy.chain.open import CHAIN_FILE
from hippy.errors import (
    AuthError,
    ConfigError,
    ConflictError,
    HippyError,
    NotFoundError,
    ProtocolError,
    QuotaError,
    RateLimitedError,
    TemporaryError,
    TooLargeError,
)
from hippy.identity import Identity, save_keyfile
from hippy.ids import MessageId, Root, SegmentId
from hippy.kv import open_database
from hippy.transport.client import Call, open_http
from hippy.transport.limits import Rate
from hippy.validator import inventory_desk, server, service
from hippy.validator.tables import FORMATS_BEFORE, HOME
from hippy.wire.object import (
    OBJECTS_BYTES_MAX,
    BucketAnswer,
    BucketRequest,
    BucketRow,
    BucketsAnswer,
    BucketsRequest,
    ListAnswer,
    ListRequest,
    ObjectRow,
    ReadAnswer,
    ReadRequest,
    WriteAnswer,
    WriteRequest,
)
from hippy.wire.parts import encode_parts, parse_parts
from hippy.wire.release import (
    INVENTORY_ANSWER_BYTES_MAX,
    INVENTORY_MAX,
    InventoryAnswer,
    InventoryRequest,
    LeaseAnswer,
    LeaseRequest,
    OwedTicket,
)
from hippy.wire.segment import (
    CommitAnswer,
    CommitRequest,
    FailedPiece,
    ReallocateRequest,
    SegmentCommit,
    SegmentsAnswer,
    SegmentsRequest,
    TicketList,
)
from hippy.wire.ticket import Refusal, TicketProof, prove_tickets
from tests.validator.network import (
    ACCOUNT,
    CLOCK,
    NETWORK,
    STRANGER,
    VALIDATOR,
    Client,
    LocalNetwork,
    local_network,
    new_request,
)
from tests.validator.world import component, row

COMMIT_ID, WRITE_ID, MOVE_ID = b"c" * 16, b"w" * 16, b"m" * 16


@pytest.fixture
async def network(tmp_path: Path) -> AsyncIterator[LocalNetwork]:
    async with local_network(tmp_path, miners=6) as network:
        yield network


@pytest.fixture
async def client(network: LocalNetwork) -> AsyncIterator[Client]:
    async with network.validator() as client:
        await client.wait_until_live(6)
        yield client


def commit_request(*commits: SegmentCommit) -> CommitRequest:
    return CommitRequest.model_validate({"request_id": COMMIT_ID, "account": ACCOUNT.public_key, "segments": commits})


def reallocation(proof: TicketProof, refusal: Refusal | None = None) -> ReallocateRequest:
    ticket = proof.ticket
    piece = FailedPiece(index=ticket.index, ticket_id=ticket.id(NETWORK), refusal=refusal)
    return ReallocateRequest(request_id=MOVE_ID, account=ticket.account, segment_id=ticket.segment_id, pieces=(piece,))


async def reallocated(client: Client, request: ReallocateRequest) -> TicketProof:
    answer = TicketList.parse(await client.post("/v1/reallocate", request))
    (proof,) = prove_tickets(answer.tickets, answer.grant, NETWORK)
    return proof


def written(row: ObjectRow) -> bytes:
    return encode_parts(WriteRequest(request_id=WRITE_ID, account=row.account, rows=(row,)), [b"manifest"])


async def test_segment_and_object_go_all_the_way_and_survive_a_restart(network: LocalNetwork) -> None:
    segments = SegmentsRequest(segment_ids=(SegmentId(b"s" * 32),))
    read = ReadRequest(account=ACCOUNT.public_key, bucket=component("bucket"), names=((component("a"),),))
    answers: list[list[bytes]] = []
    for life in range(2):
        async with network.validator() as client:
            if life == 0:
                await client.wait_until_live(6)
                proofs = await client.allocate(new_request(segments=2))
                commits = [await client.commit_of(proofs[:4]), await client.commit_of(proofs[4:])]
                answer = CommitAnswer.parse(await client.post("/v1/commit", commit_request(*commits)))
                assert answer.copies == 1
                one = row("a", segment_ids=(commits[0].segment_id,), time=int(CLOCK.now()))
                results = WriteAnswer.parse(await client.send("/v1/objects", written(one))).results
                assert [result.status for result in results] == ["stored"]
                segments = SegmentsRequest(segment_ids=(*(each.segment_id for each in commits), SegmentId(b"u" * 32)))
            answers.append([await client.post("/v1/segments", segments), await client.post("/v1/objects/read", read)])
            assert (await client.status()).used_bytes == 2 * 4 * 500 + len(one.encode()) + len(b"manifest")
    assert answers[0] == answers[1]
    assert len(SegmentsAnswer.parse(answers[0][0]).segments) == 2
    found, manifests = parse_parts(ReadAnswer, answers[0][1])
    assert (found.results[0].row, manifests) == (one, [b"manifest"])


async def test_listing_shows_rows_and_buckets(client: Client) -> None:
    await client.send("/v1/objects", written(row("dir/a", time=int(CLOCK.now()))))
    bucket = component("bucket")
    asked = ListRequest(account=ACCOUNT.public_key, bucket=bucket, prefix=(), depth="one", limit=10)
    listed = ListAnswer.parse(await client.post("/v1/objects/list", asked))
    assert (listed.rows, listed.prefixes, listed.after) == ((), (component("dir"),), None)
    buckets = await client.post("/v1/buckets", BucketsRequest(account=ACCOUNT.public_key))
    assert BucketsAnswer.parse(buckets).buckets == (bucket,)


async def test_repeated_requests_get_the_same_answer(client: Client) -> None:
    request = new_request()
    first, again = await client.allocate(request), await client.allocate(request)
    assert [proof.ticket for proof in first] == [proof.ticket for proof in again]
    commit = commit_request(await client.commit_of(first))
    assert await client.post("/v1/commit", commit) == await client.post("/v1/commit", commit)
    with pytest.raises(ConflictError, match="request_id"):
        await client.allocate(new_request().model_copy(update={"request_id": request.request_id}))
    assert (await client.status()).used_bytes == 4 * 500


async def test_refused_piece_gets_another_miner(network: LocalNetwork, client: Client) -> None:
    proofs = await client.allocate(new_request())
    network.by_hotkey(proofs[2].ticket.miner).refuses = True
    answer = await client.put(proofs[2])
    assert answer.status == 507
    refusal = Refusal.parse(answer.headers["X-Hippy-Refusal"].encode())
    request = reallocation(proofs[2], refusal)
    moved = await reallocated(client, request)
    assert moved.ticket.index == 2
    assert moved.ticket.miner not in [proof.ticket.miner for proof in proofs]
    assert (await reallocated(client, request)).ticket == moved.ticket
    commit = await client.commit_of([*proofs[:2], moved, proofs[3]])
    assert await client.post("/v1/commit", commit_request(commit)) == CommitAnswer(copies=1).encode()


async def test_piece_of_a_dead_miner_gets_another_one(network: LocalNetwork, client: Client) -> None:
    proofs = await client.allocate(new_request())
    await network.by_hotkey(proofs[0].ticket.miner).life.aclose()
    moved = await reallocated(client, reallocation(proofs[0]))
    assert moved.ticket.miner not in [proof.ticket.miner for proof in proofs]
    await client.wait_until_live(5)


async def test_live_miner_keeps_its_piece(client: Client) -> None:
    (proof, *_) = await client.allocate(new_request())
    with pytest.raises(ConflictError, match="is there") as caught:
        await client.post("/v1/reallocate", reallocation(proof))
    assert caught.value.hint == "try it again"


@pytest.mark.parametrize("forgery", ["ticket_id", "signature"])
async def test_refusal_that_proves_nothing_is_no_reason(client: Client, forgery: str) -> None:
    (proof, other, *_) = await client.allocate(new_request())
    refusal = Refusal(
        ticket_id=(other if forgery == "ticket_id" else proof).ticket.id(NETWORK),
        miner=proof.ticket.miner,
        code="no_space",
        time=int(CLOCK.now()),
    )
    with pytest.raises(ProtocolError if forgery == "ticket_id" else AuthError):
        await client.post("/v1/reallocate", reallocation(proof, refusal))


async def test_more_pieces_than_miners_names_both_numbers(client: Client) -> None:
    spec = new_request().segments[0]
    wide = spec.model_copy(update={"n": 8, "roots": (*spec.roots, *new_request().segments[0].roots)})
    with pytest.raises(TemporaryError, match=r"8 independent miners .* 6 can"):
        await client.allocate(new_request().model_copy(update={"segments": (wide,)}))


async def test_quota_holds_over_http(client: Client) -> None:
    with pytest.raises(QuotaError):
        await client.allocate(new_request(segments=51))
    assert (await client.status()).used_bytes == 0


async def test_second_account_reads_nothing_of_the_first(network: LocalNetwork) -> None:
    bucket = component("bucket")
    read = ReadRequest(account=ACCOUNT.public_key, bucket=bucket, names=((component("a"),),))
    listing = ListRequest(account=ACCOUNT.public_key, bucket=bucket, prefix=(), depth="all", limit=10)
    async with network.validator(STRANGER, unpaid_quota_bytes=1000) as stranger:
        assert (await stranger.status()).pay_class == "unpaid"
        for path, message in (("read", read), ("list", listing)):
            with pytest.raises(AuthError, match="another account"):
                await stranger.post(f"/v1/objects/{path}", message)
        with pytest.raises(AuthError, match="another account"):
            await stranger.post("/v1/buckets", BucketsRequest(account=ACCOUNT.public_key))
        with pytest.raises(AuthError, match="another account"):
            await stranger.send("/v1/objects", written(row("a")))
    async with network.validator(STRANGER) as stranger:
        with pytest.raises(AuthError, match="not known here"):
            await stranger.status()


@pytest.mark.parametrize(
    ("path", "body", "error"),
    [
        ("/v1/commit", b"{}", ProtocolError),
        ("/v1/objects", b"\xff\xff\xff\xff{}", ProtocolError),
        ("/v1/reallocate", b"x" * 70_000, TooLargeError),
        ("/v1/nothing", b"", ProtocolError),
    ],
)
async def test_malformed_requests_are_told_so(
    network: LocalNetwork, path: str, body: bytes, error: type[HippyError]
) -> None:
    async with network.validator() as client:
        with pytest.raises(error):
            await client.send(path, body)


async def test_directory_is_open_to_all_and_names_the_silent(network: LocalNetwork, client: Client) -> None:
    directory = await client.directory()
    assert [entry.hotkey for entry in directory.miners] == [each.identity.public_key for each in network.miners]
    assert {entry.capacity_bytes for entry in directory.miners} == {2**40}
    unsigned = await client.http.request(client.validator, Call("POST", "/v1/segments", b"{}"))
    assert unsigned.status == 400


async def test_hotkey_without_permit_does_not_start(network: LocalNetwork) -> None:
    path = network.directory / "miner.key"
    save_keyfile(network.miners[0].identity, path)
    with pytest.raises(ConfigError, match="no validator permit"):
        async with network.validator(hotkey_file=path):
            pytest.fail("it started")


async def test_wrong_subnet_and_foreign_database_do_not_start(network: LocalNetwork) -> None:
    with pytest.raises(ConfigError, match="subnet 2"):
        async with network.validator(netuid=2):
            pytest.fail("it started")
    async with network.validator():
        pass
    path = network.directory / "second.key"
    save_keyfile(STRANGER, path)
    async with open_local_chain(network.directory / CHAIN_FILE, hotkey=None, clock=CLOCK) as chain:
        await chain.register(STRANGER.public_key, STRANGER.public_key, validator_permit=True, stake_rao=1)
    with pytest.raises(ConfigError, match="belongs to another"):
        async with network.validator(hotkey_file=path):
            pytest.fail("it started")


async def test_database_of_an_earlier_format_does_not_start(network: LocalNetwork) -> None:
    earlier = FORMATS_BEFORE[0] + NETWORK + VALIDATOR.public_key
    async with open_database(network.directory / "validator" / "registry") as database:
        await database.transact(lambda txn: txn.put(HOME, earlier))
    with pytest.raises(ConfigError, match="earlier pre-release version"):
        async with network.validator():
            pytest.fail("it started")


async def test_private_address_and_coldkey_do_not_start_on_a_public_network(network: LocalNetwork) -> None:
    with pytest.raises(ConfigError, match="not a public address"):
        async with network.validator(network="finney"):
            pytest.fail("it started")
    hotkey_file = network.directory / "wallet" / "hotkeys" / "default"
    save_keyfile(STRANGER, hotkey_file)
    save_keyfile(STRANGER, hotkey_file.parents[1] / "coldkey")
    with pytest.raises(ConfigError, match="unencrypted coldkey"):
        async with network.validator(network="finney", host="8.8.8.8", hotkey_file=hotkey_file):
            pytest.fail("it started")


async def test_published_endpoint_is_where_it_answers(network: LocalNetwork, client: Client) -> None:
    async with open_local_chain(network.directory / CHAIN_FILE, hotkey=None, clock=CLOCK) as chain:
        neuron = (await chain.metagraph()).neurons[0]
    assert (neuron.endpoint, neuron.hotkey) == (client.validator.endpoint, client.validator.hotkey)


def owed(proof: TicketProof) -> OwedTicket:
    ticket = proof.ticket
    return OwedTicket(ticket_id=ticket.id(NETWORK), segment_id=ticket.segment_id, index=ticket.index, root=ticket.root)


async def test_a_miner_asks_about_its_tickets_and_nobody_elses(network: LocalNetwork, client: Client) -> None:
    proofs = await client.allocate(new_request())
    miner = network.by_hotkey(proofs[0].ticket.miner).identity
    unknown = OwedTicket(
        ticket_id=proofs[0].ticket.id(NETWORK), segment_id=SegmentId(b"u" * 32), index=0, root=proofs[0].ticket.root
    )
    page = InventoryRequest(miner=miner.public_key, tickets=(owed(proofs[0]), unknown))
    async with open_http(miner, CLOCK) as http:
        asking = Client(http, client.validator, miner)
        answer = InventoryAnswer.parse(await asking.post("/v1/inventory", page))
        assert [state.state for state in answer.states] == ["live", "unknown"]
        for body, error in ((b"{}", ProtocolError), (b"x" * 100_000, TooLargeError)):
            with pytest.raises(error):
                await asking.send("/v1/inventory", body)
        theirs = page.model_copy(update={"miner": VALIDATOR.public_key})
        with pytest.raises(AuthError, match="another miner"):
            await asking.post("/v1/inventory", theirs)
        with pytest.raises(AuthError, match="not known"):
            await asking.status()
    with pytest.raises(AuthError, match="only registered miners"):
        await client.post("/v1/inventory", page)


async def test_a_miner_that_asks_too_often_is_told_when_to_come_back(
    network: LocalNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inventory_desk, "INVENTORIES", Rate(per_second=0.1, burst=2))
    one, two = (miner.identity for miner in network.miners[:2])
    ticket = OwedTicket(ticket_id=MessageId(b"t" * 32), segment_id=SegmentId(b"u" * 32), index=0, root=Root(b"r" * 32))
    page = InventoryRequest(miner=one.public_key, tickets=(ticket,) * INVENTORY_MAX)
    async with network.validator() as client, open_http(one, CLOCK) as http, open_http(two, CLOCK) as second:
        asking = Client(http, client.validator, one)
        for _ in range(2):
            answer = await asking.post("/v1/inventory", page)
            told = InventoryAnswer.parse(answer, limit=INVENTORY_ANSWER_BYTES_MAX)
            assert {state.state for state in told.states} == {"unknown"}
        refused = await http.request(client.validator, Call("POST", "/v1/inventory", page.encode()))
        assert (refused.status, refused.headers["Retry-After"]) == (429, "10")
        others = page.model_copy(update={"miner": two.public_key})
        await Client(second, client.validator, two).post("/v1/inventory", others)


async def test_an_account_that_changes_too_much_is_told_when_to_come_back(
    network: LocalNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "REQUESTS", Rate(per_second=0.1, burst=2))
    monkeypatch.setattr(service, "RECORDS", Rate(per_second=0.1, burst=3))
    async with network.validator() as client:
        now = int(CLOCK.now())
        await client.send("/v1/objects", written(row("a", time=now)))
        lease = LeaseRequest(request_id=WRITE_ID, account=ACCOUNT.public_key, segment_ids=(SegmentId(b"u" * 32),))
        with pytest.raises(ConflictError):  # the same request_id: it is looked at
            await client.post("/v1/leases", lease)
        with pytest.raises(RateLimitedError, match="requests that change"):
            await client.post("/v1/leases", lease)
        body = written(row("b", time=now))
        refused = await client.http.request(client.validator, Call("POST", "/v1/objects", body))
        assert (refused.status, refused.headers["Retry-After"]) == (429, "10")
        assert (await client.status()).used_bytes > 0  # reading is free


async def test_strangers_share_what_one_account_may_change(
    network: LocalNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "REQUESTS", Rate(per_second=0.01, burst=2))
    now = int(CLOCK.now())
    third = Identity.from_seed(b"c" * 32)
    async with network.validator(unpaid_quota_bytes=10_000) as client:
        for signer, allowed in ((STRANGER, True), (VALIDATOR, True), (third, False), (ACCOUNT, True)):
            async with open_http(signer, CLOCK) as http:
                sending = Client(http, client.validator, signer).send(
                    "/v1/objects", written(row("a", signer=signer, time=now))
                )
                if allowed:
                    assert WriteAnswer.parse(await sending).results[0].status == "stored"
                else:
                    with pytest.raises(RateLimitedError):
                        await sending


async def test_long_answers_are_made_a_few_at_a_time_and_others_wait_or_are_told_to(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    working, most, full, go_on = 0, 0, asyncio.Event(), asyncio.Event()

    async def slow(*_: object) -> bytes:
        nonlocal working, most
        working += 1
        most = max(most, working)
        if working == server.ANSWERS_AT_ONCE:
            full.set()
        await go_on.wait()
        working -= 1
        return SegmentsAnswer(segments=()).encode()

    monkeypatch.setattr(service.Service, "segments", slow)
    request = SegmentsRequest(segment_ids=(SegmentId(b"u" * 32),))
    asking = [asyncio.create_task(client.post("/v1/segments", request)) for _ in range(server.ANSWERS_AT_ONCE + 2)]
    await full.wait()
    await client.status()  # what is short passes them
    go_on.set()
    assert len(await asyncio.gather(*asking)) == len(asking)
    assert most == server.ANSWERS_AT_ONCE


async def test_answers_that_nobody_takes_hold_no_more_than_an_address_may_have(
    network: LocalNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "ANSWER_WAIT_SECONDS", 0.3)
    stuck = asyncio.Event()

    async def length(*_: object) -> int:
        return OBJECTS_BYTES_MAX

    async def slow(*_: object) -> bytes:
        await stuck.wait()
        return SegmentsAnswer(segments=()).encode()

    monkeypatch.setattr(service.Service, "segments_bytes", length)
    monkeypatch.setattr(service.Service, "segments", slow)
    request = SegmentsRequest(segment_ids=(SegmentId(b"u" * 32),))
    async with network.validator() as client:
        first, second = (asyncio.create_task(client.post("/v1/segments", request)) for _ in range(2))
        done, waiting = await asyncio.wait([first, second], return_when=asyncio.FIRST_COMPLETED)
        with pytest.raises(RateLimitedError, match="too many answers"):
            await done.pop()
        stuck.set()
        assert await waiting.pop() == SegmentsAnswer(segments=()).encode()


async def test_leases_and_made_buckets_go_over_http(client: Client) -> None:
    proofs = await client.allocate(new_request())
    await client.post("/v1/commit", commit_request(await client.commit_of(proofs)))
    segment_id = proofs[0].ticket.segment_id
    lease = LeaseRequest(request_id=b"l" * 16, account=ACCOUNT.public_key, segment_ids=(segment_id,))
    (until,) = LeaseAnswer.parse(await client.post("/v1/leases", lease)).until
    assert until > CLOCK.now()
    unsigned = BucketRow(account=ACCOUNT.public_key, bucket=component("new"), action="create", time=int(CLOCK.now()))
    made = BucketRequest(request_id=b"b" * 16, account=ACCOUNT.public_key, row=unsigned.signed(ACCOUNT, NETWORK))
    assert BucketAnswer.parse(await client.post("/v1/buckets/write", made)).existed == 0
    buckets = await client.post("/v1/buckets", BucketsRequest(account=ACCOUNT.public_key))
    assert BucketsAnswer.parse(buckets).buckets == (component("new"),)
    gone = unsigned.model_copy(update={"action": "delete"}).signed(ACCOUNT, NETWORK)
    for number, error in ((1, None), (2, NotFoundError)):
        request = BucketRequest(request_id=bytes([number]) * 16, account=ACCOUNT.public_key, row=gone)
        if error is None:
            assert BucketAnswer.parse(await client.post("/v1/buckets/write", request)).existed == 1
        else:
            with pytest.raises(error):
                await client.post("/v1/buckets/write", request)
