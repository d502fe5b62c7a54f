"""The demo's last scene: what the validator's audits found, and the weights that follow."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from hippy.net.plan import NetworkPlan
    from hippy.wire.score import ScoreSheet

WAIT_SECONDS: Final = 40.0
POLL_SECONDS: Final = 0.25


async def audited_epoch(plan: NetworkPlan) -> dict[str, Any]:
    """Return the newest epoch that has ended with audits in it, waiting for one.

    Raises TemporaryError when none does in time.
    """
    from hippy.clock import SystemClock
    from hippy.errors import NotFoundError, TemporaryError
    from hippy.identity import load_keyfile
    from hippy.transport.client import Call, Http, Peer, open_http
    from hippy.wire.audit import Epochs
    from hippy.wire.score import SHEET_BYTES_MAX, ScoreSheet

    node = plan.of_role("validator")[0]
    validator = Peer(node.endpoint, load_keyfile(plan.hotkey_file(node)).public_key)

    async def newest_sheet(http: Http) -> ScoreSheet | None:
        try:
            kept = await http.message(validator, Call("GET", "/v1/epochs"), Epochs)
            call = Call("GET", f"/v1/epochs/{max(0, kept.last - 1)}/sheet", answer_bytes_max=SHEET_BYTES_MAX)
            return await http.message(validator, call, ScoreSheet)
        except NotFoundError:
            return None

    clock = SystemClock()
    deadline = clock.now() + WAIT_SECONDS
    async with open_http(None, clock) as http:
        while clock.now() < deadline:
            sheet = await newest_sheet(http)
            if sheet is not None and any(score.leaves_ok for score in sheet.miners):
                return _described(plan, sheet)
            await clock.sleep(POLL_SECONDS)
    raise TemporaryError(f"no epoch with audits ended within {WAIT_SECONDS:.0f} s", hint="look at the validator's log")


def _described(plan: NetworkPlan, sheet: ScoreSheet) -> dict[str, Any]:
    from hippy.identity import load_keyfile

    names = {load_keyfile(plan.hotkey_file(node)).public_key: node.name for node in plan.of_role("miner")}
    total = sum(score.weight for score in sheet.miners)
    return {
        "epoch": sheet.epoch,
        "leaves_shown": sum(score.leaves_ok for score in sheet.miners),
        "leaves_not_shown": sum(score.leaves_bad for score in sheet.miners),
        "miners_audited": sum(1 for score in sheet.miners if score.leaves_ok or score.leaves_bad),
        "weights": {
            names[score.hotkey]: round(score.weight / total, 4) if total else 0.0
            for score in sheet.miners
            if score.hotkey in names
        },
    }
