"""The validator as a process: routes, body limits, start and graceful stop (PROTOCOL §3, §4, §9).

:func:`run_validator` owns everything: chain, database, HTTP both ways, the prober of miners and the sweep. It
runs until it is cancelled; then no new request is taken, those in flight finish, and the database is closed.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from random import SystemRandom
from typing import TYPE_CHECKING, Final, TypeVar

from aiohttp import hdrs, web

from hippy.chain.fresh import ChainReads
from hippy.chain.joining import joined_chain
from hippy.chain.protocol import Chain
from hippy.chain.publish import publish
from hippy.clock import Clock
from hippy.endpoint import Endpoint
from hippy.errors import ConfigError, TemporaryError
from hippy.identity import ss58_encode
from hippy.ids import PublicKey
from hippy.kv import Database
from hippy.transport.admin import AdminPlace, Attached, Figures, admin_serving, together
from hippy.transport.client import Http, open_http
from hippy.transport.granting import granted
from hippy.transport.hello import HelloDesk
from hippy.transport.outbox import Outbox
from hippy.transport.readiness import Check, disk_check
from hippy.transport.server import Guard, Handler, Route, build_app, error_response, read_body, serving
from hippy.transport.turns import Turns
from hippy.validator.accounts import apply_settings
from hippy.validator.admin import Administration
from hippy.validator.admin_routes import METRICS, AdminRoutes
from hippy.validator.audit_metrics import METRICS as AUDIT_METRICS
from hippy.validator.audit_metrics import AuditFigures
from hippy.validator.auditing.opening import Surroundings, open_auditor
from hippy.validator.auditing.routes import AuditRoutes
from hippy.validator.auditing.tenure import Tenure
from hippy.validator.directory import MinerDirectory
from hippy.validator.duty import Duty
from hippy.validator.following.metrics import METRICS as FOLLOWING_METRICS
from hippy.validator.following.metrics import FollowingFigures
from hippy.validator.following.opening import Following
from hippy.validator.following.opening import Surroundings as Together
from hippy.validator.following.watch import WatchedDatabase
from hippy.validator.inventory_desk import InventoryDesk
from hippy.validator.keys import Secrets, encryption_key, load_secrets
from hippy.validator.log import Home
from hippy.validator.page.gathering import Gatherer
from hippy.validator.page.routes import PageRoutes
from hippy.validator.page.sources import sources_of
from hippy.validator.planner import Planner
from hippy.validator.rates import TooManyError
from hippy.validator.registry import check_secrets, open_registry
from hippy.validator.repair import opening as repairs
from hippy.validator.repair.desk import DrainDesk
from hippy.validator.repair.drains import draining
from hippy.validator.repair.figures import METRICS as REPAIR_METRICS
from hippy.validator.repair.figures import RepairFigures
from hippy.validator.repair.repairer import Repairer
from hippy.validator.service import Parts, Service
from hippy.validator.settings import ValidatorSettings
from hippy.validator.tables import claim
from hippy.wire.btauth import NonceWindow
from hippy.wire.canonical import MESSAGE_BYTES_MAX, Message
from hippy.wire.object import (
    OBJECTS_BYTES_MAX,
    READ_BYTES_MAX,
    BucketRequest,
    BucketsRequest,
    ListRequest,
    ReadRequest,
    WriteRequest,
)
from hippy.wire.pace import pace_of
from hippy.wire.parts import CONTENT_TYPE, parse_parts
from hippy.wire.release import INVENTORY_BYTES_MAX, InventoryRequest, LeaseRequest
from hippy.wire.segment import (
    ALLOCATE_BYTES_MAX,
    COMMIT_BYTES_MAX,
    AllocateRequest,
    CommitRequest,
    ReallocateRequest,
    SegmentsRequest,
)

if TYPE_CHECKING:
    from typing_extensions import Buffer

log = logging.getLogger("hippy.validator")

BODIES_BYTES_MAX: Final = 256 * 1024 * 1024
"""All request bodies in memory at once; parsed messages take a few times as much."""

BUCKETS_BYTES: Final = 1024 * 1024
"""What the buckets of an account are expected to take at most; people have a handful."""

JSON: Final = "application/json"
SWEEP_SECONDS: Final = 60.0
SWEEPS_PER_GRACE: Final = 20
"""On networks with short epochs, whose waiting times are short too."""

ANSWERS_AT_ONCE: Final = 4
"""Answers that are read from the database, in threads; a page of a listing takes some 0.1 s."""

ANSWERS_WAITING_MAX: Final = 256
ANSWER_WAIT_SECONDS: Final = 5.0
OUTBOX_BYTES_MAX: Final = 4 * OBJECTS_BYTES_MAX
"""Answers on their way out. One address has a quarter, which holds the longest: keys cost nothing, addresses do."""

LISTED_ROW_BYTES: Final = 2_048
"""What a row of a listing is expected to take; an ordinary one has 900 bytes."""

M = TypeVar("M", bound=Message)
R = TypeVar("R")


class BodyBudget:
    """Bounds the memory of request bodies: a stranger's are read before anybody knows who signed them.

    Only bytes that arrived count, so announcing a body takes nothing from others; short ones are not counted.
    """

    def __init__(self, limit: int = BODIES_BYTES_MAX) -> None:
        self._free = limit

    @asynccontextmanager
    async def take(self, request: web.Request, limit: int) -> AsyncIterator[bytes]:
        """Yield the body of a request, at most ``limit`` bytes.

        Raises TemporaryError when too many bodies are under way, and what read_body raises.
        """
        taken = 0

        def count(size: int) -> None:
            nonlocal taken
            if limit > MESSAGE_BYTES_MAX and size > self._free:
                raise TemporaryError("too many large requests at once", hint="try again in a moment")
            if limit > MESSAGE_BYTES_MAX:
                self._free -= size
                taken += size

        try:
            yield await read_body(request, limit, arrived=count)
        finally:
            self._free += taken


class Routes:
    """Turns requests into calls of the service."""

    def __init__(self, service: Service, inventories: InventoryDesk, directory: MinerDirectory, guard: Guard) -> None:
        self._service = service
        self._inventories = inventories
        self._directory = directory
        self._guard = guard
        self._budget = BodyBudget()
        self._outbox = Outbox(
            OUTBOX_BYTES_MAX, "answers", waiting_max=ANSWERS_WAITING_MAX, wait_seconds=ANSWER_WAIT_SECONDS
        )
        self._turns = Turns(
            ANSWERS_AT_ONCE, "answers", waiting_max=ANSWERS_WAITING_MAX, wait_seconds=ANSWER_WAIT_SECONDS
        )

    def routes(self) -> list[Route]:
        """Return all routes but the handshake."""
        service = self._service
        return [
            self._post("/v1/allocate", AllocateRequest, service.allocate, ALLOCATE_BYTES_MAX),
            self._post("/v1/reallocate", ReallocateRequest, service.reallocate),
            self._post("/v1/commit", CommitRequest, service.commit, COMMIT_BYTES_MAX),
            Route("POST", "/v1/objects", _paced(self._write), body_bytes_max=OBJECTS_BYTES_MAX, signed=True),
            self._long("/v1/objects/read", ReadRequest, service.read_bytes, service.read, READ_BYTES_MAX, CONTENT_TYPE),
            self._long("/v1/objects/list", ListRequest, _listed_bytes, service.list),
            self._long("/v1/buckets", BucketsRequest, _buckets_bytes, service.buckets),
            self._post("/v1/buckets/write", BucketRequest, service.write_bucket),
            self._post("/v1/leases", LeaseRequest, service.leases),
            self._long("/v1/segments", SegmentsRequest, self._segments_bytes, self._segments),
            Route("POST", "/v1/inventory", _paced(self._inventory), body_bytes_max=INVENTORY_BYTES_MAX, signed=True),
            Route("GET", "/v1/miners", self._miners),
            Route("GET", "/v1/account", self._account, signed=True),
        ]

    def _post(
        self,
        path: str,
        kind: type[M],
        answer: Callable[[M, PublicKey], Awaitable[bytes]],
        limit: int = MESSAGE_BYTES_MAX,
    ) -> Route:
        async def handle(request: web.Request) -> web.StreamResponse:
            async with self._budget.take(request, limit) as body:
                message, sender = await self._parsed(request, body, kind, limit)
                return web.Response(body=await answer(message, sender), content_type=JSON)

        return Route("POST", path, _paced(handle), body_bytes_max=limit, signed=True)

    def _long(
        self,
        path: str,
        kind: type[M],
        length: Callable[[M, PublicKey], Awaitable[int]],
        answer: Callable[[M, PublicKey], Awaitable[bytes]],
        limit: int = MESSAGE_BYTES_MAX,
        content_type: str = JSON,
    ) -> Route:
        """A route whose answers may be long: it makes room for one of about this length before there is one."""

        async def handle(request: web.Request) -> web.StreamResponse:
            async with self._budget.take(request, limit) as body:
                message, sender = await self._parsed(request, body, kind, limit)
            async with self._outbox.place(request.remote, await length(message, sender)) as place:
                async with self._turns.turn(waited_seconds=place.waited_seconds):
                    buffers: list[Buffer] = [await answer(message, sender)]
                return await place.send(request, buffers, content_type=content_type)

        return Route("POST", path, handle, body_bytes_max=limit, signed=True)

    async def _parsed(self, request: web.Request, body: bytes, kind: type[M], limit: int) -> tuple[M, PublicKey]:
        """Return a message and who signed it; long ones are parsed for accounts only."""
        sender = self._guard.sender(request, body)
        if limit > MESSAGE_BYTES_MAX:
            await self._service.admit(sender)
        return await _off_loop(body, lambda: kind.parse(body, limit=limit)), sender

    async def _write(self, request: web.Request) -> web.StreamResponse:
        async with self._budget.take(request, OBJECTS_BYTES_MAX) as body:
            sender = self._guard.sender(request, body)
            await self._service.admit(sender)
            message, manifests = await _off_loop(body, lambda: parse_parts(WriteRequest, body))
            answer = await self._service.write(message, manifests, sender)
            return web.Response(body=answer, content_type=JSON)

    async def _inventory(self, request: web.Request) -> web.StreamResponse:
        async with self._budget.take(request, INVENTORY_BYTES_MAX) as body:
            sender = self._guard.sender(request, body)
            self._inventories.admit(sender)
            message = await _off_loop(body, lambda: InventoryRequest.parse(body, limit=INVENTORY_BYTES_MAX))
            answer = await self._inventories.inventory(message, sender)
            return web.Response(body=answer, content_type=JSON)

    async def _segments_bytes(self, request: SegmentsRequest, _: PublicKey) -> int:
        return await self._service.segments_bytes(request)

    async def _segments(self, request: SegmentsRequest, _: PublicKey) -> bytes:
        return await self._service.segments(request)

    async def _miners(self, _: web.Request) -> web.StreamResponse:
        return web.Response(body=self._directory.signed(), content_type=JSON)

    async def _account(self, request: web.Request) -> web.StreamResponse:
        answer = await self._service.account(self._guard.sender(request, b""))
        return web.Response(body=answer, content_type=JSON)


async def _listed_bytes(request: ListRequest, _: PublicKey) -> int:
    return request.limit * LISTED_ROW_BYTES


async def _buckets_bytes(*_: object) -> int:
    return BUCKETS_BYTES


def _paced(handle: Handler) -> Handler:
    """Have a handler tell those whose bucket is empty when to come back."""

    async def paced(request: web.Request) -> web.StreamResponse:
        try:
            return await handle(request)
        except TooManyError as error:
            return error_response(error, headers={hdrs.RETRY_AFTER: str(error.wait_seconds)})

    return paced


async def _off_loop(body: bytes, work: Callable[[], R]) -> R:
    """Parse small bodies here and large ones in a thread; a megabyte takes some 20 ms."""
    return work() if len(body) <= MESSAGE_BYTES_MAX else await asyncio.to_thread(work)


@dataclass(frozen=True, slots=True)
class _Node:
    """An opened validator."""

    chain: Chain
    parts: Parts
    tenure: Tenure
    repairer: Repairer
    following: Following
    routes: Sequence[Route]
    attached: Attached


async def run_validator(settings: ValidatorSettings, *, clock: Clock, ready: Callable[[Endpoint], None]) -> None:
    """Serve as a validator until cancelled; ``ready`` is called once it answers and has published its endpoint.

    Raises ConfigError when it cannot start with these settings: no permit, a used port, a foreign database.
    """
    async with (
        admin_serving(AdminPlace(settings.admin_host, settings.admin_port, settings.data_dir), clock) as admin,
        _opened(settings, clock) as node,
    ):
        app = build_app(node.routes)
        admin.requests.count(app)
        allowed = granted(
            connections_max=settings.connections_max,
            connections_per_address_max=settings.connections_per_address_max,
        )
        admin.attach(node.attached)
        async with (
            serving(app, settings.host, settings.port, allowed=allowed, traffic=admin.traffic) as endpoint,
            asyncio.TaskGroup() as tasks,
        ):
            tasks.create_task(node.parts.directory.run())  # before publishing, which may take the chain a while
            database = node.parts.database
            sweeping = Duty(database, "sweep", clock)
            tasks.create_task(sweeping.run(lambda guarded: _sweep(replace(node.parts, database=guarded))))
            tasks.create_task(node.tenure.run(Duty(database, "audit", clock), database))
            tasks.create_task(node.repairer.run())
            tasks.create_task(node.following.run())
            await publish(node.chain, settings.published(endpoint), clock)
            admin.announce()
            ready(endpoint)


@asynccontextmanager
async def _opened(settings: ValidatorSettings, clock: Clock) -> AsyncIterator[_Node]:
    async with AsyncExitStack() as stack:
        joined = await stack.enter_async_context(joined_chain(settings, clock))
        identity, chain = joined.identity, joined.chain
        await _check_permit(chain, identity.public_key)
        secrets = load_secrets(settings.data_dir)
        home = Home(identity, chain.network, chain.netuid)
        database = WatchedDatabase(await stack.enter_async_context(open_registry(settings)), clock)
        await _claim(database, home, settings, secrets)
        http = await stack.enter_async_context(open_http(None, clock))
        signing = await stack.enter_async_context(open_http(identity, clock))
        anonymous = await stack.enter_async_context(open_http(None, clock, source_host=settings.probe_host))
        directory = await _directory(settings, http, chain, home, database, clock)
        epoch_seconds = await chain.epoch_seconds()
        pace, planner = pace_of(epoch_seconds), Planner(chain, directory, secrets.placement)
        key = encryption_key(home, secrets.envelope, int(clock.now()))
        following = Following(Together(home, database, chain, directory, signing, http, clock, pace, key))
        await following.lapse.recover()  # before anything is written
        await _apply_accounts(database, home, settings, int(clock.now()))
        parts = Parts(
            home=home,
            database=database,
            directory=directory,
            planner=planner,
            envelope_key=secrets.envelope,
            clock=clock,
            unpaid_quota_bytes=settings.unpaid_quota_bytes,
            pace=pace,
            copies=following.copies,
            registries=following.registries,
        )
        desk = HelloDesk(identity, "validator", home.network, home.netuid, clock, encryption_key=key)
        guard = Guard(home.hotkey, clock, NonceWindow())
        surroundings = Surroundings(
            home, secrets.placement, database, chain, directory, signing, anonymous, clock, SystemRandom()
        )
        auditor = await open_auditor(surroundings)
        repairing = repairs.Surroundings(
            home, database, directory, planner, secrets.envelope, signing, http, clock, SystemRandom()
        )
        repairer = _repairer(repairing, settings, epoch_seconds)
        audits = AuditRoutes(home, database, chain, directory, auditor, guard, clock)
        inventories = InventoryDesk(home, database, directory, clock)
        figures = sources_of(following.followers.logs)
        page = PageRoutes(Gatherer(home, database, chain, directory, auditor, clock, figures).status, clock)
        routes = [desk.route(), *Routes(Service(parts), inventories, directory, guard).routes(), *audits.routes()]
        routes += [*page.routes(), *following.routes(guard), DrainDesk(home, database, directory, guard, clock).route()]
        operators, reads = AdminRoutes(Administration(home, database, clock)), ChainReads(chain, clock)
        attached = _attached(
            operators,
            {"disk": disk_check(settings.data_dir), "database": operators.check, "chain": reads.check},
            AuditFigures(database, chain, directory, auditor).samples,
            RepairFigures(database).samples,
            FollowingFigures(database, following.followers, following.copies, following.lapse).samples,
        )
        tenure = Tenure(auditor, lambda guarded: open_auditor(replace(surroundings, database=guarded)), clock)
        yield _Node(chain, parts, tenure, repairer, following, routes, attached)


async def _directory(
    settings: ValidatorSettings, http: Http, chain: Chain, home: Home, database: Database, clock: Clock
) -> MinerDirectory:
    """Return the miners as the chain and the registry know them now."""
    directory = MinerDirectory(
        http,
        chain,
        home,
        clock,
        probe_seconds=settings.probe_seconds,
        stale_seconds=settings.probe_stale_seconds,
    )
    await directory.refresh()
    directory.draining = await database.read(draining)
    return directory


def _repairer(given: repairs.Surroundings, settings: ValidatorSettings, epoch_seconds: float) -> Repairer:
    return repairs.make_repairer(
        given, mbit_s=settings.repair_mbit_s, at_once=settings.repairs_at_once, epoch_seconds=epoch_seconds
    )


def _attached(operators: AdminRoutes, checks: Mapping[str, Check], *figures: Figures) -> Attached:
    """Return what the admin port tells and does."""
    return Attached(
        checks=checks,
        metrics=(*METRICS, *AUDIT_METRICS, *REPAIR_METRICS, *FOLLOWING_METRICS),
        figures=together(operators.samples, *figures),
        routes=operators.routes(),
    )


async def _check_permit(chain: Chain, hotkey: PublicKey) -> None:
    """Raises ConfigError unless our hotkey may be a validator of the subnet."""
    neuron = (await chain.metagraph()).by_hotkey(hotkey)
    if neuron is None or not neuron.validator_permit:
        raise ConfigError(
            f"the hotkey {ss58_encode(hotkey)} has no validator permit on subnet {chain.netuid}",
            hint="register it and give it stake, or check which hotkey the settings name",
        )


async def _claim(database: Database, home: Home, settings: ValidatorSettings, secrets: Secrets) -> None:
    """Make sure that the registry is ours, and that our secrets are those of all processes that share it."""
    await database.transact(lambda txn: claim(txn, home.network, home.hotkey))
    if settings.registry is not None:
        shared = {"placement.secret": secrets.placement, "envelope.key": secrets.envelope.private_key}
        await check_secrets(database, settings.data_dir, shared)


async def _apply_accounts(database: Database, home: Home, settings: ValidatorSettings, now: int) -> None:
    """Apply the accounts of the settings."""
    records = [account.record() for account in settings.accounts]
    await database.transact(lambda txn: apply_settings(txn, home, records, now))


async def _sweep(parts: Parts) -> None:
    """Sweep again and again, on a database on which only the holder of the duty writes."""
    service, clock, pace = Service(parts), parts.clock, parts.pace
    pause_seconds = max(1.0, min(SWEEP_SECONDS, pace.drop_grace_seconds / SWEEPS_PER_GRACE))
    while True:
        try:
            await service.sweep()
        except Exception:  # the top of a supervised task: the next sweep makes up for this one
            log.exception("unexpected error while closing allocations and releasing segments")
        await clock.sleep(pause_seconds)
