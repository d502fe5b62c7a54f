"""Lets today's SDK set weights on a subtensor runtime of mid-2025 (spec 293), for tests on a real node.

What that runtime does not keep is answered as "the feature is absent"; weights go by the call's old name. A newer
runtime is left alone. ``HIPPY_CHAIN_SUBSTRATE=tests.chain.old_runtime:substrate`` gives it to processes.
"""

from __future__ import annotations

from typing import Any

import bittensor as bt

ABSENT = {"SubnetEpochConsensus": "Yuma", "PendingEpochAt": 0, "CollateralLockShare": 0, "MechanismCountCurrent": 1}
"""Storage of SubtensorModule that the SDK reads before it sets weights, and what it means that there is none."""


class OldRuntimeSubstrate(bt.RpcSubstrate):
    """The SDK's connection, with what an old runtime lacks made up."""

    async def query(
        self, module: str, storage_function: str, params: list[Any] | None = None, block_hash: str | None = None
    ) -> Any:
        try:
            return await super().query(module, storage_function, params, block_hash=block_hash)
        except ValueError:
            if module == "SubtensorModule" and storage_function in ABSENT:
                return ABSENT[storage_function]
            raise

    async def compose(self, call: Any) -> Any:
        module, function, params = call
        if function == "set_mechanism_weights" and await self.spec_version() < 300:
            assert params["mecid"] == 0
            call = (module, "set_weights", {name: each for name, each in params.items() if name != "mecid"})
        return await super().compose(call)  # type: ignore[no-untyped-call]


def substrate(endpoint: str) -> OldRuntimeSubstrate:
    """Return an unconnected substrate for an endpoint."""
    return OldRuntimeSubstrate(endpoint)
