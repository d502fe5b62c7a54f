"""The checks of ``hippy doctor`` for users: account, validator, clock, quota, miners, and where state is kept."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from hippy.cli.checks import OTHERS_BITS, Check, Status, existing, failed, is_writable
from hippy.cli.printing import human_bytes
from hippy.errors import ConfigError, HippyError, TemporaryError

if TYPE_CHECKING:
    from pathlib import Path

    from hippy.client.home import Credentials
    from hippy.client.results import Account
    from hippy.erasure.geometry import Profile
    from hippy.wire.node import Hello

SKEW_SECONDS_MAX: Final = 60
"""Half of what messages tolerate (PROTOCOL §0): a clock this far off will be refused soon."""

QUOTA_SHARE: Final = 0.9
"""Of the quota, from which on it is nearly full."""

CLOCK_HINT: Final = "set the clock by the network: timedatectl set-ntp true, or your system's way to use NTP"


def client_checks() -> Iterator[Check]:
    """Yield every check that can be made; without an account there is no validator to ask."""
    yield check_state()
    account, credentials = check_account()
    yield account
    if credentials is None:
        return
    validator, hello = check_validator(credentials)
    yield validator
    if hello is not None:
        yield check_clock(hello.time, time.time())
        yield from check_service()


def check_state() -> Check:
    """Check that what must be remembered can be."""
    from hippy.client.home import find_home

    state = find_home().state
    if is_writable(state):
        return Check("state", Status.OK, f"{state} can be written")
    hint = f"make {existing(state)} yours, or set HIPPY_HOME to a directory that is"
    return Check("state", Status.FAILED, f"{state} cannot be written", hint)


def check_account() -> tuple[Check, Credentials | None]:
    """Check the credentials in use and who else can read them; return them too, if they can be used."""
    from hippy.client.home import find_credentials

    try:
        path = _credentials_path()
        if path is None:
            hint = "hippy login for an account, or hippy net up -d for a local network with one"
            return Check("account", Status.WARNING, "none is set up here", hint), None
        credentials = find_credentials()
        mode = path.stat().st_mode
    except ConfigError as error:
        return Check("account", Status.FAILED, error.message, error.hint), None
    except OSError as error:
        hint = "is the directory yours? hippy writes it with mode 0700"
        return Check("account", Status.FAILED, f"cannot look at {error.filename}: {error.strerror}", hint), None
    found = f"{credentials.account_ss58}, from {path}"
    if os.name == "posix" and mode & OTHERS_BITS:
        readable = f"{found}, which has mode {mode & 0o777:04o}: others may have its secret"
        return Check("account", Status.FAILED, readable, f"chmod 600 {path}"), credentials
    return Check("account", Status.OK, found), credentials


def _credentials_path() -> Path | None:
    """Return the file that find_credentials would read; None when there is neither login nor local network."""
    from hippy.client.home import find_home, find_local_network, network_credentials

    login = find_home().credentials
    if login.exists() and not os.environ.get("HIPPY_NET"):
        return login
    directory = find_local_network()
    return None if directory is None else network_credentials(directory)


def check_validator(credentials: Credentials) -> tuple[Check, Hello | None]:
    """Check that the account's validator answers the handshake, within five seconds; return its hello too."""
    from hippy.cli.running import run

    try:
        hello, seconds = run(_meet(credentials))
    except TemporaryError as error:
        if credentials.local:
            hint = "hippy net status, or hippy net up -d to start it"
            return Check("validator", Status.WARNING, error.message, hint), None
        hint = error.hint or "is this machine online? if so, the validator is away: try again later"
        return Check("validator", Status.FAILED, error.message, hint), None
    except HippyError as error:
        return failed("validator", error, "ask whoever runs the validator"), None
    where = f"{hello.software} at {credentials.validator_endpoint}"
    return Check("validator", Status.OK, f"{where} answered in {seconds * 1e3:.0f} ms"), hello


async def _meet(credentials: Credentials) -> tuple[Hello, float]:
    """Return the validator's hello and how many seconds it took."""
    from hippy.clock import SystemClock
    from hippy.transport.client import Peer, open_http
    from hippy.transport.hello import shake_hands

    clock = SystemClock()
    peer = Peer(credentials.validator_endpoint, credentials.validator_hotkey)
    async with open_http(None, clock) as http:
        started = time.monotonic()
        hello = await shake_hands(http, peer, "validator", credentials.network, local=credentials.local, clock=clock)
        return hello, time.monotonic() - started


def check_clock(validator_time: int, now: float) -> Check:
    """Check how far our clock is from the validator's, in Unix seconds."""
    skew = now - validator_time
    if abs(skew) <= SKEW_SECONDS_MAX:
        return Check("clock", Status.OK, "within a minute of the validator's")
    found = f"{abs(skew):.0f} s {'ahead of' if skew > 0 else 'behind'} the validator's"
    return Check("clock", Status.WARNING, found, CLOCK_HINT)


def check_service() -> Iterator[Check]:
    """Yield what the validator says of quota and miners."""
    from hippy.cli.opening import with_client
    from hippy.client.sdk import AsyncClient

    async def work(client: AsyncClient) -> tuple[Account, Profile | TemporaryError]:
        account = await client.whoami()
        try:
            return account, await client.profile()
        except TemporaryError as error:
            return account, error

    try:
        account, profile = with_client(work)
    except HippyError as error:
        yield failed("quota", error, "ask whoever runs the validator")
        return
    yield check_quota(account.used_bytes, account.quota_bytes)
    yield check_miners(profile)


def check_quota(used_bytes: int, quota_bytes: int) -> Check:
    """Check that there is room for more."""
    found = f"{human_bytes(used_bytes)} of {human_bytes(quota_bytes)} used"
    if used_bytes < quota_bytes * QUOTA_SHARE:
        return Check("quota", Status.OK, found)
    hint = "hippy du shows what takes it and hippy rm frees it; or ask whoever runs the validator for more"
    return Check("quota", Status.WARNING, found, hint)


def check_miners(profile: Profile | TemporaryError) -> Check:
    """Check that enough miners are live for the profile that a put would use, or say what it lacks."""
    if isinstance(profile, TemporaryError):
        return Check("miners", Status.WARNING, profile.message, profile.hint)
    return Check("miners", Status.OK, f"enough are live for the code {profile}, which needs {profile.n}")
