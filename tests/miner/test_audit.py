"""Audits over HTTP: which answers verify, what a bad disk makes of them, and who gets none."""

from __future__ import annotations

import asyncio
import os
import threading
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from random import Random

import pytest

from hippy.errors import AuthError, HippyError, ProtocolError, RateLimitedError, TemporaryError, TooLargeError
from hippy.identity import Identity, verify
from hippy.ids import Root
from hippy.miner.audit import AUDIT_BYTES_MAX, BATCHES_PER_VALIDATOR_MAX
from hippy.miner.files import PieceFiles
from hippy.miner.leaves import ProvenLeaf, levels_of, path_of
from hippy.proofs.inventory import PieceLeaf
from hippy.proofs.ranges import prove
from hippy.proofs.request import ENTRIES_MAX, AuditRequest, Scope, encode_request
from hippy.proofs.tree import LEAF_BYTES, leaf_count, leaf_hashes, root_of
from hippy.proofs.verify import Verdict, verify_response
from hippy.transport.client import Answer, Call, Http, open_http
from tests.miner.world import LARGE, MIB, MINER, NETUID, NETWORK, OTHER, VALIDATOR, Miner, World, piece

OK, LOST, NEVER = Verdict.OK, Verdict.LOST, Verdict.NEVER_RECEIVED
DATA = piece("a", LARGE)
ROOT = root_of(DATA)
LEAVES = leaf_count(LARGE)
TINY = piece("tiny", 77)
LENGTHS = {ROOT: LARGE, root_of(TINY): len(TINY)}


def request(entries: Sequence[tuple[Root, int]], attempt: int = 0) -> AuditRequest:
    return AuditRequest(5, 2, 1234, attempt, b"t" * 32, tuple(PieceLeaf(*entry) for entry in entries))


async def ask(miner: Miner, http: Http, asked: AuditRequest | bytes) -> Answer:
    body = asked if isinstance(asked, bytes) else encode_request(asked)
    return await http.request(miner.peer, Call("POST", "/v1/audit", body=body, answer_bytes_max=2 * MIB))


def judged(
    answer: Answer, asked: AuditRequest, lengths: dict[Root, int] = LENGTHS, asker: Identity = VALIDATOR
) -> tuple[Verdict, ...]:
    """The verdicts of an answer, as its validator draws them."""
    assert answer.error() is None
    scope = Scope(NETWORK, NETUID, asker.public_key, MINER.public_key)
    return verify_response(asked, scope, lengths, answer.body, verify).verdicts


async def verdicts(miner: Miner, entries: Sequence[tuple[Root, int]]) -> tuple[Verdict, ...]:
    asked = request(entries)
    return judged(await ask(miner, miner.asker, asked), asked)


def flip(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("count", [1, 2, 3, 5, 7, 8, 13])
def test_picked_paths_are_those_that_are_computed(count: int) -> None:
    hashes = [bytes([number]) * 32 for number in range(count)]
    levels = levels_of(hashes)
    assert [path_of(levels, leaf) for leaf in range(count)] == [b"".join(prove(hashes, at, 1)) for at in range(count)]


async def test_every_leaf_of_a_piece_verifies(world: World) -> None:
    async with world.serving() as miner:
        await miner.stored(DATA)
        assert await verdicts(miner, [(ROOT, leaf) for leaf in range(LEAVES)]) == (OK,) * LEAVES


async def test_full_batch_over_several_pieces_verifies_in_the_order_asked(world: World) -> None:
    pieces = [piece(f"piece {number}", 1 + number * 30_011) for number in range(9)]
    lengths = {root_of(data): len(data) for data in pieces}
    random = Random(7)
    leaves = [(root, leaf) for root, length in lengths.items() for leaf in range(leaf_count(length))]
    asked = request(random.choices(leaves, k=ENTRIES_MAX))
    async with world.serving() as miner:
        for data in pieces:
            await miner.stored(data)
        answer = await ask(miner, miner.asker, asked)
        assert judged(answer, asked, lengths) == (OK,) * ENTRIES_MAX
        assert answer.headers["Content-Type"] == "application/octet-stream"


async def test_repeated_entries_are_each_answered(world: World) -> None:
    async with world.serving() as miner:
        await miner.stored(DATA)
        assert await verdicts(miner, [(ROOT, 3), (ROOT, 0), (ROOT, 3), (ROOT, 3)]) == (OK,) * 4


async def test_piece_of_one_leaf_verifies(world: World) -> None:
    async with world.serving() as miner:
        await miner.stored(TINY)
        assert await verdicts(miner, [(root_of(TINY), 0)]) == (OK,)


async def test_piece_without_an_index_row_was_never_received(world: World) -> None:
    async with world.serving() as miner:
        await miner.stored(DATA)
        world.files().write(root_of(TINY), TINY, leaf_hashes(TINY))
        assert await verdicts(miner, [(root_of(TINY), 0), (ROOT, 1)]) == (NEVER, OK)


def cut(path: Path) -> None:
    os.truncate(path, LARGE - 1)


@pytest.mark.parametrize("damage", [Path.unlink, cut])
async def test_a_missing_or_cut_piece_is_said_to_be_lost_and_goes_on_being_so(
    world: World, damage: Callable[[Path], None]
) -> None:
    async with world.serving() as miner:
        await miner.stored(DATA)
        await miner.stored(TINY)
        damage(world.files().path(ROOT))
        for _ in range(2):
            assert await verdicts(miner, [(ROOT, 0), (root_of(TINY), 0), (ROOT, 6)]) == (LOST, OK, LOST)
    async with world.serving() as miner:
        assert await verdicts(miner, [(ROOT, 0)]) == (LOST,)


async def test_damaged_leaf_is_lost_and_its_neighbours_are_not(world: World) -> None:
    async with world.serving() as miner:
        await miner.stored(DATA)
        flip(world.files().path(ROOT), LEAF_BYTES + 5)
        assert await verdicts(miner, [(ROOT, 0), (ROOT, 1), (ROOT, 2)]) == (OK, LOST, OK)


async def test_damaged_piece_of_one_leaf_is_lost(world: World) -> None:
    async with world.serving() as miner:
        await miner.stored(TINY)
        flip(world.files().path(root_of(TINY)), 5)
        assert await verdicts(miner, [(root_of(TINY), 0)]) == (LOST,)


def flip_tree(path: Path) -> None:
    flip(path, 40)


@pytest.mark.parametrize("damage", [Path.unlink, flip_tree])
async def test_lost_or_damaged_tree_is_rebuilt(world: World, damage: Callable[[Path], None]) -> None:
    async with world.serving() as miner:
        await miner.stored(DATA)
        path = world.files().tree_path(ROOT)
        damage(path)
        assert await verdicts(miner, [(ROOT, 2)]) == (OK,)
        assert path.read_bytes() == b"".join(leaf_hashes(DATA))


async def test_unreadable_sector_costs_its_leaf_only(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.pread

    def failing(descriptor: int, length: int, offset: int) -> bytes:
        if (length, offset) == (LEAF_BYTES, LEAF_BYTES):
            raise OSError(5, "Input/output error")
        return real(descriptor, length, offset)

    async with world.serving() as miner:
        await miner.stored(DATA)
        monkeypatch.setattr(os, "pread", failing)
        assert await verdicts(miner, [(ROOT, 0), (ROOT, 1), (ROOT, 2)]) == (OK, LOST, OK)


async def error_of(miner: Miner, http: Http, asked: AuditRequest | bytes) -> tuple[int, type[HippyError], str]:
    answer = await ask(miner, http, asked)
    error = answer.error()
    assert error is not None
    return answer.status, type(error), error.message


async def test_what_cannot_be_read_now_is_temporary_and_not_lost(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def short_of_files(*_: object) -> int:
        raise OSError(24, "Too many open files")

    async with world.serving() as miner:
        await miner.stored(DATA)
        with monkeypatch.context() as patch:
            patch.setattr("hippy.miner.disk.os.pread", short_of_files)
            assert (await error_of(miner, miner.asker, request([(ROOT, 0)])))[:2] == (503, TemporaryError)
        assert await verdicts(miner, [(ROOT, 0)]) == (OK,)


async def test_unmounted_disk_is_temporary_and_not_lost(world: World) -> None:
    async with world.serving() as miner:
        await miner.stored(DATA)
        folder = world.files().path(ROOT).parent
        folder.rename(world.data_dir / "away")
        assert (await error_of(miner, miner.asker, request([(ROOT, 0)])))[:2] == (503, TemporaryError)
        (world.data_dir / "away").rename(folder)
        assert await verdicts(miner, [(ROOT, 0)]) == (OK,)


async def test_leaf_beyond_its_piece_is_a_protocol_error(world: World) -> None:
    async with world.serving() as miner:
        await miner.stored(DATA)
        asked = request([(ROOT, 0), (ROOT, LEAVES)])
        assert (await error_of(miner, miner.asker, asked))[:2] == (400, ProtocolError)


STRANGERS = [(None, "not signed"), (OTHER, "no permit"), (MINER, "no permit")]


@pytest.mark.parametrize(("asker", "told"), STRANGERS)
async def test_who_has_no_permit_is_refused_before_anything_is_parsed_or_read(
    world: World, asker: Identity | None, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with world.serving() as miner, open_http(asker, world.clock) as http:
        await miner.stored(DATA)
        monkeypatch.setattr(miner.store, "leaves", None)
        for body in (request([(ROOT, 0)]), b"not a request"):
            status, kind, message = await error_of(miner, http, body)
            assert (status, kind) == (401, AuthError)
            assert told in message


async def test_too_long_a_body_is_refused_before_its_signature(world: World) -> None:
    async with world.serving() as miner:
        assert len(encode_request(request([(ROOT, 0)] * ENTRIES_MAX))) == AUDIT_BYTES_MAX
        async with open_http(None, world.clock) as http:
            assert (await error_of(miner, http, bytes(AUDIT_BYTES_MAX + 1)))[:2] == (413, TooLargeError)


@pytest.mark.parametrize("body", [b"", b"HPA1", encode_request(request([(ROOT, 0)])) + b"x"])
async def test_malformed_request_is_a_protocol_error(world: World, body: bytes) -> None:
    async with world.serving() as miner:
        assert (await error_of(miner, miner.asker, body))[:2] == (400, ProtocolError)


async def test_each_leaf_is_read_once_and_each_tree_once(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    other = piece("b", LARGE)
    reads: Counter[tuple[str, int]] = Counter()
    real = os.pread

    def counted(descriptor: int, length: int, offset: int) -> bytes:
        status = os.fstat(descriptor)
        reads[names[status.st_ino], offset] += 1
        return real(descriptor, length, offset)

    async with world.serving() as miner:
        for data in (DATA, other, TINY):
            await miner.stored(data)
        names = {path.stat().st_ino: path.name for path in (world.data_dir / "pieces").rglob("*") if path.is_file()}
        a, b, tiny = ROOT.hex(), root_of(other).hex(), root_of(TINY).hex()
        asked = [(ROOT, 4), (root_of(other), 0), (ROOT, 1), (root_of(TINY), 0), (ROOT, 4), (root_of(TINY), 0)]
        monkeypatch.setattr(os, "pread", counted)
        assert (await ask(miner, miner.asker, request(asked))).status == 200
    wanted = [(a + ".tree", 0), (a, LEAF_BYTES), (a, 4 * LEAF_BYTES), (b + ".tree", 0), (b, 0), (tiny, 0)]
    assert reads == Counter(wanted)


@contextmanager
def stuck(monkeypatch: pytest.MonkeyPatch, root: Root) -> Iterator[threading.Semaphore]:
    """Reading leaves of this piece waits until the block ends; the semaphore counts the reads that began."""
    began, gate, real = threading.Semaphore(0), threading.Event(), PieceFiles.read_leaves

    def read(self: PieceFiles, asked: Root, length: int, leaves: Collection[int]) -> dict[int, ProvenLeaf | None]:
        if asked == root:
            began.release()
            assert gate.wait(10)
        return real(self, asked, length, leaves)

    monkeypatch.setattr(PieceFiles, "read_leaves", read)
    try:
        yield began
    finally:
        gate.set()


async def test_fifth_batch_of_a_validator_is_told_to_wait_while_anothers_is_served(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await world.chain.register(OTHER.public_key, OTHER.public_key, validator_permit=True, stake_rao=9)
    asked, small = request([(ROOT, 0)]), request([(root_of(TINY), 0)])
    async with world.serving() as miner:
        await miner.stored(DATA)
        await miner.stored(TINY)
        with stuck(monkeypatch, ROOT) as began:
            batches = [asyncio.create_task(ask(miner, miner.asker, asked)) for _ in range(BATCHES_PER_VALIDATOR_MAX)]
            for _ in batches:
                assert await asyncio.to_thread(began.acquire, timeout=10)
            refused = await ask(miner, miner.asker, small)
            assert (refused.status, type(refused.error())) == (429, RateLimitedError)
            assert judged(await ask(miner, miner.other, small), small, asker=OTHER) == (OK,)
        assert [judged(answer, asked) for answer in await asyncio.gather(*batches)] == [(OK,)] * len(batches)
        assert judged(await ask(miner, miner.asker, small), small) == (OK,)


async def test_validator_that_asks_more_than_any_needs_is_told_when_to_come_back(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hippy.miner.server.AUDITS_AT_ONCE_MAX", 2)
    await world.chain.register(OTHER.public_key, OTHER.public_key, validator_permit=True, stake_rao=9)
    asked = request([(ROOT, 0)])
    async with world.serving() as miner:
        await miner.stored(DATA)
        for _ in range(2):
            assert judged(await ask(miner, miner.asker, asked), asked) == (OK,)
        refused = await ask(miner, miner.asker, asked)
        assert (refused.status, type(refused.error())) == (429, RateLimitedError)
        assert refused.headers["Retry-After"] == "15", "256 an hour"
        assert judged(await ask(miner, miner.other, asked), asked, asker=OTHER) == (OK,)
        await world.clock.advance(15)
        assert judged(await ask(miner, miner.asker, asked), asked) == (OK,)


async def test_batches_share_the_turns_at_the_disk(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hippy.miner.audit.TURNS_MAX", 1)
    monkeypatch.setattr("hippy.miner.audit.WAITING_MAX", 1)
    async with world.serving() as miner:
        await miner.stored(DATA)
        with stuck(monkeypatch, ROOT) as began:
            first = asyncio.create_task(ask(miner, miner.asker, request([(ROOT, 0)])))
            assert await asyncio.to_thread(began.acquire, timeout=10)
            others = [asyncio.create_task(ask(miner, miner.asker, request([(ROOT, 0)]))) for _ in range(2)]
            done, waiting = await asyncio.wait(others, return_when=asyncio.FIRST_COMPLETED)
            assert [task.result().status for task in done] == [429]
        assert (await first).status == 200
        assert [(await task).status for task in waiting] == [200]


async def test_answer_is_bound_to_who_asked(world: World) -> None:
    """The request's hash names the validator: what was answered to one is no answer to another."""
    await world.chain.register(OTHER.public_key, OTHER.public_key, validator_permit=True, stake_rao=9)
    asked = request([(ROOT, 0)], attempt=3)
    async with world.serving() as miner:
        await miner.stored(DATA)
        answer = await ask(miner, miner.other, asked)
        assert judged(answer, asked, asker=OTHER) == (OK,)
        with pytest.raises(HippyError, match="another request"):
            judged(answer, asked, asker=VALIDATOR)
