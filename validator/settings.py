"""Settings of a validator: what every node has, the accounts it serves, and how often it looks at miners.

::

    network = "local:net"
    hotkey_file = "validator1/hotkey"
    data_dir = "validator1/data"

    [[accounts]]
    account = "5F…"
    quota_bytes = 10_000_000_000
"""

from __future__ import annotations

from collections import Counter
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator

from hippy.errors import ProtocolError
from hippy.identity import ss58_decode
from hippy.postgres.address import registry_url
from hippy.settings import NodeSettings, numeric_host
from hippy.wire.fields import INTEGER_MAX
from hippy.wire.log import AccountRecord
from hippy.wire.ticket import PayClass

QuotaBytes = Annotated[int, Field(ge=0, le=INTEGER_MAX)]


class AccountSettings(BaseModel):
    """One account that this validator is home to, by its SS58 address."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    account: str
    pay_class: PayClass = "paid"
    quota_bytes: QuotaBytes

    @field_validator("account")
    @classmethod
    def _is_an_address(cls, value: str) -> str:
        try:
            ss58_decode(value)
        except ProtocolError as error:
            raise ValueError(error.message) from None
        return value

    def record(self) -> AccountRecord:
        """Return the log record that this setting asks for."""
        return AccountRecord(account=ss58_decode(self.account), pay_class=self.pay_class, quota_bytes=self.quota_bytes)


class ValidatorSettings(NodeSettings):
    """What a validator needs to know."""

    accounts: tuple[AccountSettings, ...] = ()
    """Applied at the first start with an entry, and at the first after it was changed: what ``hippy validator account
    set`` said since holds until then. An account that is no longer listed keeps what it had."""

    unpaid_quota_bytes: QuotaBytes = 0
    """Quota of every account that is not listed; 0 turns strangers away."""

    probe_seconds: Annotated[float, Field(gt=0, le=3600)] = 30.0
    """Pause between two handshakes with a miner."""

    probe_stale_seconds: Annotated[float, Field(gt=0, le=86_400)] = 90.0
    """A miner whose last handshake is older counts as silent."""

    probe_host: Annotated[str, AfterValidator(numeric_host)] | None = None
    """The address of this machine that anonymous reads leave from; None: the usual one. One that is not on chain keeps
    miners from telling a probe from a client."""

    registry: Annotated[str, AfterValidator(registry_url)] | None = Field(default=None, repr=False)
    """The address of a PostgreSQL database that keeps the registry, ``postgresql://USER@HOST/DATABASE``; several
    processes of a validator may share it. None: RocksDB in ``data_dir``, for one process."""

    repair_mbit_s: Annotated[float, Field(gt=0, le=1_000_000)] = 100.0
    """Megabits a second that repairs may have miners read, on average, for each process of the validator, which itself
    sends a kth of that."""

    repairs_at_once: Annotated[int, Field(ge=1, le=64)] = 4
    """Pieces that are made at a time."""

    @field_validator("accounts")
    @classmethod
    def _are_distinct(cls, value: tuple[AccountSettings, ...]) -> tuple[AccountSettings, ...]:
        counted = Counter(ss58_decode(each.account) for each in value)
        for each in value:
            if counted[ss58_decode(each.account)] > 1:
                raise ValueError(f"the account {each.account} is listed twice")
        return value
