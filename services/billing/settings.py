"""What billing reads from its environment."""

from typing import ClassVar

from pydantic import Field, SecretStr

from libs.runtime.settings import ServiceSettings


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
    revenue_shard: int = Field(
        default=0, description="The revenue account of this instance; give each its own.", ge=0, le=7
    )
    batch_events: int = Field(default=1000, description="Most usage events in one transaction.", ge=1, le=5000)
    prefetch_messages: int = Field(default=60, description="Messages taken from the broker before an ack.", ge=1)
