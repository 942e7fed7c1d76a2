"""What the edge reads from its environment."""

from typing import ClassVar

from pydantic import Field, SecretStr

from libs.runtime.settings import ServiceSettings


class EdgeSettings(ServiceSettings):
    """`TOKENOUTPUT_EDGE_…`, else `TOKENOUTPUT_…`."""

    scope: ClassVar[str] = "edge"

    port: int = Field(default=8080, description="The public port: both protocols.", ge=0, le=65535)
    admin_port: int = Field(default=9080, description="Port of /livez, /readyz and /metrics.", ge=0, le=65535)
    database_url: SecretStr = Field(description="PostgreSQL, as role tokenoutput_edge.")
    database_connections: int = Field(default=8, description="Most connections to PostgreSQL.", ge=1)
    redis_url: SecretStr = Field(description="The Redis that holds this edge's leases.")
    redis_seconds: float = Field(default=0.3, description="How long one command to Redis may take.", gt=0)
    redis_shard: str = Field(default="r0", description="The name of that Redis, as leases call it.", min_length=1)
    router_url: str = Field(default="http://127.0.0.1:8081", description="The router service.")
    billing_url: str = Field(default="http://127.0.0.1:8082", description="The billing service.")
    catalog_url: str = Field(default="http://127.0.0.1:8083", description="The catalog service.")
    key_pepper: SecretStr = Field(description="Secret of the digests under which API keys are stored.")
    hold_secret: SecretStr = Field(description="Signs holds for billing. The edge and billing share it, nobody else.")
    max_body_bytes: int = Field(default=32 << 20, description="Largest request body; more is a 413.", ge=1024)
    key_cache_seconds: float = Field(
        default=2, description="How long a key is trusted unasked, and so how late a revocation bites.", ge=0
    )
    default_output_tokens: int = Field(
        default=8192, description="Output cap of a request that names none, if it can pay for it.", ge=1
    )
    dispatch_seconds: float = Field(default=10, description="How long a hold may wait to be dispatched.", gt=0)
    answer_seconds: float = Field(default=3600, description="How long one answer may take altogether.", gt=0)
    topup_url: str = Field(default="", description="Where customers add credit; named in 402 answers when set.")
