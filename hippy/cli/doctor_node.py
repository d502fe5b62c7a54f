"""The checks of ``hippy doctor --miner FILE`` and ``--validator FILE``: would this node start, and does it serve.

They are for the node's own user: what that user may not read or write, the node may not either. A node that runs is
recognised by its handshake and asked through its admin port; its database is left alone.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, TypeVar

from hippy.cli.checks import OTHERS_BITS, Check, Status, existing, failed, is_writable
from hippy.cli.node_settings import hotkey_of, load_checked
from hippy.cli.printing import human_bytes
from hippy.endpoint import Endpoint
from hippy.errors import HippyError

if TYPE_CHECKING:
    from hippy.identity import Identity
    from hippy.miner.settings import MinerSettings
    from hippy.settings import NodeSettings

Role = Literal["miner", "validator"]
S = TypeVar("S", bound="NodeSettings")

ANY_HOSTS: Final = ("0.0.0.0", "::")  # noqa: S104 - looked for, not listened on


def miner_checks(file: Path) -> Iterator[Check]:
    """Yield every check of the miner with these settings; without good settings there is one."""
    from hippy.miner.settings import MinerSettings

    check, settings = check_settings(MinerSettings, file)
    yield check
    if settings is not None:
        yield from _node_checks(settings, "miner")
        yield check_space(settings)


def validator_checks(file: Path) -> Iterator[Check]:
    """Yield every check of the validator with these settings; without good settings there is one."""
    from hippy.validator.settings import ValidatorSettings

    check, settings = check_settings(ValidatorSettings, file)
    yield check
    if settings is not None:
        yield from _node_checks(settings, "validator")


def check_settings(kind: type[S], file: Path) -> tuple[Check, S | None]:
    """Check a settings file, under the environment of this shell; return the settings, if they are good."""
    try:
        loaded = load_checked(kind, file, {})
    except HippyError as error:
        return failed("settings", error), None
    variables = sorted(source for source in loaded.sources.values() if source.startswith("HIPPY_"))
    more = f", and {', '.join(variables)} of this shell" if variables else ""
    return Check("settings", Status.OK, f"{file}{more}"), loaded.settings


def _node_checks(settings: NodeSettings, role: Role) -> Iterator[Check]:
    check, identity = check_hotkey(settings)
    yield check
    yield check_data_dir(settings.data_dir)
    check, runs = check_port(settings, role, identity)
    yield check
    yield check_admin(settings, runs=runs)


def check_hotkey(settings: NodeSettings) -> tuple[Check, Identity | None]:
    """Check that the hotkey can be read and, on a public network, that no unencrypted coldkey lies beside it."""
    from hippy.chain.network import BittensorNetwork, parse_network
    from hippy.chain.wallet import check_coldkey_away
    from hippy.identity import load_keyfile

    try:
        network = parse_network(settings.network)
        _, path = hotkey_of(settings)
        if isinstance(network, BittensorNetwork) and not network.loopback:
            check_coldkey_away(path)
        identity = load_keyfile(path)
    except HippyError as error:
        return failed("hotkey", error), None
    return Check("hotkey", Status.OK, f"{identity.ss58}, from {path}"), identity


def check_data_dir(data_dir: Path) -> Check:
    """Check that the node could write its data, and that nobody else can read it."""
    if not is_writable(data_dir):
        hint = f"run this as the node's user, or make {existing(data_dir)} that user's"
        return Check("data", Status.FAILED, f"{data_dir} cannot be written by this user", hint)
    if not data_dir.exists():
        return Check("data", Status.OK, f"{data_dir} is made at the first start")
    mode = data_dir.stat().st_mode & 0o777
    if os.name == "posix" and mode & OTHERS_BITS:
        found = f"{data_dir} has mode {mode:04o}: others may look into it"
        return Check("data", Status.WARNING, found, f"chmod 700 {data_dir}")
    return Check("data", Status.OK, f"{data_dir} can be written")


def check_space(settings: MinerSettings) -> Check:
    """Check that the disk is large enough for what the miner offers and has its reserve free."""
    try:
        found = os.statvfs(existing(settings.data_dir))
    except OSError as error:
        hint = "is its disk mounted?"
        return Check("disk", Status.FAILED, f"{settings.data_dir} does not tell its size: {error.strerror}", hint)
    total, free = found.f_blocks * found.f_frsize, found.f_bavail * found.f_frsize
    said = f"{human_bytes(free)} free of {human_bytes(total)}, {human_bytes(settings.capacity_bytes)} offered"
    if free < settings.disk_reserve_bytes:
        hint = "free space: below disk_reserve_bytes every upload is answered 507"
        return Check("disk", Status.FAILED, f"{said}; less is free than the reserve", hint)
    if settings.capacity_bytes + settings.disk_reserve_bytes > total:
        hint = f"set capacity_bytes to at most {max(1, total - settings.disk_reserve_bytes)}, or mount a larger disk"
        return Check("disk", Status.WARNING, f"{said}; that and the reserve do not fit", hint)
    return Check("disk", Status.OK, said)


def check_port(settings: NodeSettings, role: Role, identity: Identity | None) -> tuple[Check, bool]:
    """Check that the port is free, or that this very node has it; return whether the node runs."""
    if settings.port == 0:
        return Check("port", Status.OK, "a free one is taken at every start"), False
    place = Endpoint(settings.host, settings.port)
    trouble = _bind_error(place)
    if trouble is None:
        return Check("port", Status.OK, f"{place} is free; the node does not run"), False
    if trouble == errno.EADDRINUSE:
        host = "127.0.0.1" if settings.host in ANY_HOSTS else settings.host
        if identity is not None and _answers(Endpoint(host, settings.port), role, identity):
            return Check("port", Status.OK, f"this node runs at {place}"), True
        hint = f"ss -ltnp 'sport = :{settings.port}' shows which program has it; or set another port"
        return Check("port", Status.FAILED, f"{place} is used by another program", hint), False
    hint = 'set host to an address of this machine ("0.0.0.0" is all of them) and publish_host to the public one'
    if trouble in (errno.EACCES, errno.EPERM):
        hint = "choose a port from 1024 on"
    return Check("port", Status.FAILED, f"cannot listen on {place}: {os.strerror(trouble)}", hint), False


def _bind_error(place: Endpoint) -> int | None:
    """Return why nobody could listen there, as errno has it; None: it can be done."""
    family = socket.AF_INET6 if ":" in place.host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as servers do: what lingers is not in use
        try:
            probe.bind((place.host, place.port))
            probe.listen(1)
        except OSError as error:
            return error.errno or errno.EINVAL
    return None


def _answers(place: Endpoint, role: Role, identity: Identity) -> bool:
    """Return whether the node with this hotkey answers the handshake there."""
    from hippy.cli.running import run
    from hippy.clock import SystemClock
    from hippy.transport.client import open_http
    from hippy.transport.hello import meet

    async def asked() -> bool:
        clock = SystemClock()
        async with open_http(None, clock) as http:
            return (await meet(http, place, role, clock=clock)).hotkey == identity.public_key

    try:
        return run(asked())
    except HippyError:
        return False


def check_admin(settings: NodeSettings, *, runs: bool) -> Check:
    """Check what the admin port says of a node that runs, and that it is free for one that does not."""
    from hippy.cli.running import run
    from hippy.transport.admin_client import ask

    if settings.admin_port is None:
        hint = "add admin_port = 4101 for health, metrics and hippy validator account"
        return Check("admin", Status.WARNING, "no admin_port is set", hint)
    place = Endpoint(settings.admin_host, settings.admin_port)
    if not runs:
        trouble = _bind_error(place)
        if trouble is None:
            return Check("admin", Status.OK, f"{place} is free")
        return Check("admin", Status.FAILED, f"cannot listen on {place}: {os.strerror(trouble)}", "set another port")
    try:
        answer = run(ask(place, "GET", "/readyz"))
    except HippyError as error:
        return failed("admin", error, "restart the node if admin_port was just set")
    reasons = answer.get("reasons")
    if answer.get("ready") is True or not isinstance(reasons, dict):
        return Check("admin", Status.OK, f"the node says at {place} that it is ready")
    said = "; ".join(f"{name}: {reason}" for name, reason in reasons.items())
    return Check("admin", Status.FAILED, f"the node runs and is not ready: {said}", "the node's log says more")
