"""What billing reads from its environment."""

import re
from typing import ClassVar, Final, Self

from pydantic import Field, SecretStr, field_validator, model_validator

from libs.runtime.settings import MIN_SECRET, ServiceSettings
from services.billing.evidence import Rules
from services.billing.verdict import Judge

PRODUCER: Final = re.compile(r"(?!router)[a-z][a-z0-9-]{0,31}")


class BadKeys(ValueError):
    """The text is not names and keys of producers. Says which one, and never a key."""


def producer_keys(text: str) -> dict[str, tuple[bytes, ...]]:
    """``name:key,name:key``; a name may stand twice while its key is changed. Raises BadKeys."""
    found: dict[str, tuple[bytes, ...]] = {}
    for number, item in enumerate(text.split(","), 1):
        name, _, key = item.strip().partition(":")
        if not PRODUCER.fullmatch(name):
            raise BadKeys(f"number {number} is not NAME:KEY, with a name of a-z, 0-9 and - that is not a router's")
        if len(key) < MIN_SECRET:
            raise BadKeys(f"the key of {name} is shorter than {MIN_SECRET} characters")
        found[name] = (*found.get(name, ()), key.encode())
    return found


class BillingSettings(ServiceSettings):
    """`TOKENOUTPUT_BILLING_…`, else `TOKENOUTPUT_…`."""

    scope: ClassVar[str] = "billing"

    port: int = Field(default=8082, description="Billing's port.", ge=0, le=65535)
    admin_port: int = Field(default=9082, description="Port of /livez, /readyz and /metrics.", ge=0, le=65535)
    database_url: SecretStr = Field(description="PostgreSQL, as role tokenoutput_billing.")
    database_connections: int = Field(default=8, description="Most connections to PostgreSQL.", ge=2)
    redis_url: SecretStr = Field(description="The Redis that credit is leased to.")
    redis_seconds: float = Field(default=0.3, description="How long one command to Redis may take.", gt=0)
    redis_shard: str = Field(default="r0", description="The name of that Redis, as leases call it.", min_length=1)
    amqp_url: SecretStr = Field(description="The RabbitMQ that usage events come from.")
    hold_secret: SecretStr = Field(description="Signs holds. The edge and billing share it, nobody else.")
    lease_chunk_nano: int = Field(
        default=250_000_000, description="Least nano-USD leased to Redis at a time, if the org has them.", ge=1
    )
    lease_most_nano: int = Field(
        default=25_000_000_000, description="Most nano-USD leased at a time to an org that spends fast.", ge=1
    )
    revenue_shard: int = Field(
        default=0, description="The revenue account of this instance; give each its own.", ge=0, le=7
    )
    batch_events: int = Field(default=1000, description="Most usage events in one transaction.", ge=1, le=5000)
    prefetch_messages: int = Field(default=60, description="Messages taken from the broker before an ack.", ge=1)
    producer_keys: SecretStr | None = Field(
        default=None,
        description="Secret: the keys of services other than routers that publish usage. `NAME:KEY,NAME:KEY`, each KEY "
        f"at least {MIN_SECRET} characters; a NAME may stand twice while its KEY is changed. Empty is none.",
    )
    reclaim_seconds: float = Field(default=1, description="How often credit is looked for that can go back.", gt=0)
    watermark_lag_seconds: float = Field(
        default=15, description="How far behind now the watermark of a router is that has nothing to do.", gt=0
    )
    reclaim_margin_seconds: float = Field(
        default=5, description="How far the lowest watermark has to be past something that is given back.", gt=0
    )
    skew_seconds: float = Field(
        default=2, description="While clocks are farther apart than this, no credit is given back.", gt=0
    )
    idle_lease_seconds: float = Field(default=600, description="A lease unused for so long is closed.", gt=0)

    @model_validator(mode="after")
    def _refuse_skew_beyond_margin(self) -> Self:
        if self.skew_seconds > self.reclaim_margin_seconds:
            raise ValueError("skew_seconds cannot be more than reclaim_margin_seconds: that is what it is for")
        return self

    @field_validator("producer_keys", mode="before")
    @classmethod
    def _no_producers(cls, value: object) -> object:
        return value or None

    @field_validator("producer_keys")
    @classmethod
    def _refuse_bad_producers(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None:
            producer_keys(value.get_secret_value())
        return value

    def producers(self) -> dict[str, tuple[bytes, ...]]:
        """The keys of each producer that is not a router, the one to sign with first."""
        return {} if self.producer_keys is None else producer_keys(self.producer_keys.get_secret_value())

    def judge(self) -> Judge:
        """What decides whether an event may be charged."""
        return Judge(self.hold_secret.get_secret_value().encode(), self.producers())

    def rules(self) -> Rules:
        """What decides whether credit may be given back."""
        lag, margin, skew, idle = (
            int(seconds * 1000)
            for seconds in (
                self.watermark_lag_seconds,
                self.reclaim_margin_seconds,
                self.skew_seconds,
                self.idle_lease_seconds,
            )
        )
        return Rules(lag_ms=lag, margin_ms=margin, skew_ms=skew, idle_ms=idle)
