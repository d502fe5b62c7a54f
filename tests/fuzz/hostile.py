"""Hostile requests to real nodes, and what a node may be found to have done for one."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from hippy import kv
from hippy.identity import Identity
from hippy.ids import PublicKey
from hippy.miner import files, service
from hippy.miner import store as stores
from hippy.proofs.tree import root_of
from hippy.validator.service import Service
from hippy.wire import btauth
from hippy.wire.btauth import SignedRequest, sign_request
from hippy.wire.object import BucketsRequest
from tests.miner.world import SMALL, Miner, make_world, piece, piece_files
from tests.validator import network as validators

DATA = piece("hostile", SMALL)
HONEST = piece("honest", SMALL)
GOOD = BucketsRequest(account=PublicKey(validators.ACCOUNT.public_key)).encode()


@asynccontextmanager
async def untouched(folder: Path) -> AsyncIterator[Miner]:
    """A miner that, when the block is over, has stored an honest client's piece and nothing else."""
    async with make_world(folder) as world, world.serving() as miner:
        await miner.stored(HONEST)
        yield miner
        assert (await miner.get(root_of(HONEST))).body == HONEST
        assert miner.store.space()[1] == len(HONEST)
        assert {name.split(".")[0] for name in piece_files(world.data_dir)} == {root_of(HONEST).hex()}


def signed(target: str, body: bytes, *, signer: Identity = validators.ACCOUNT) -> dict[str, str]:
    now_ns = int(validators.CLOCK.now() * 1e9)
    request = SignedRequest("POST", target, body)
    return sign_request(signer, request, receiver=validators.VALIDATOR.public_key, now_ns=now_ns)


def post(target: str, body: bytes, headers: dict[str, str]) -> bytes:
    return head("POST", target, {**headers, "Content-Length": str(len(body))}) + body


def head(method: str, target: str, headers: dict[str, str]) -> bytes:
    lines = [f"{method} {target} HTTP/1.1", "Host: x", *(f"{key}: {headers[key]}" for key in headers)]
    return "\r\n".join((*lines, "", "")).encode()


class Counted:
    """Counts calls of something and passes them on.

    Only those of the test's own thread: another test's network may still live in another.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch, holder: Any, name: str) -> None:
        self.calls = 0
        original, ours = getattr(holder, name), threading.get_ident()

        def counted(*args: Any, **named: Any) -> Any:
            self.calls += threading.get_ident() == ours
            return original(*args, **named)

        monkeypatch.setattr(holder, name, counted)


def miner_guards(patch: pytest.MonkeyPatch) -> list[Counted]:
    """Count what a request may cost a miner beside its head: signatures, the service, the store, disk and database."""
    return [
        Counted(patch, btauth, "verify"),
        Counted(patch, service.MinerService, "admit"),
        *(Counted(patch, stores.PieceStore, name) for name in ("length", "read", "read_range", "add")),
        Counted(patch, files.PieceFiles, "path"),
        *(Counted(patch, kv.RocksDatabase, name) for name in ("read", "transact")),
    ]


def validator_guards(patch: pytest.MonkeyPatch) -> list[Counted]:
    """Count what a request may cost a validator beside its head: signatures, and every way to its database but those
    of its own tasks."""

    asked = ("allocate", "reallocate", "commit", "write", "leases", "write_bucket", "read_bytes", "read", "list")
    more = ("buckets", "segments_bytes", "segments", "account", "admit")
    return [Counted(patch, btauth, "verify"), *(Counted(patch, Service, name) for name in (*asked, *more))]


def total(guards: list[Counted]) -> int:
    return sum(guard.calls for guard in guards)
