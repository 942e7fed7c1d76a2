"""What the router reads from its environment."""

from pathlib import Path
from typing import ClassVar, Final, Self

from pydantic import Field, SecretStr, model_validator

from libs.runtime.operators import OperatorSettings
from libs.runtime.sealed import SealedSettings

LEAST_LAG_SECONDS: Final = 13  # an order may be 12 seconds old when it begins here


class RouterSettings(OperatorSettings, SealedSettings):
    """`TOKENOUTPUT_ROUTER_…`, else `TOKENOUTPUT_…`. Provider credentials are read by the names the catalog gives."""

    scope: ClassVar[str] = "router"
    header_bytes: ClassVar[int] = 1 << 18  # a sealed order carries its price, and a price may have many overrides

    port: int = Field(default=8081, description="The router's port.", ge=0, le=65535)
    admin_port: int = Field(default=9081, description="Port of /livez, /readyz and /metrics.", ge=0, le=65535)
    redis_url: SecretStr = Field(description="The Redis in which holds are settled.")
    redis_seconds: float = Field(default=0.3, description="How long one command to Redis may take.", gt=0)
    amqp_url: SecretStr = Field(description="The RabbitMQ that usage events go to.")
    catalog_url: str = Field(default="http://127.0.0.1:8083", description="The catalog service.")
    billing_url: str = Field(default="http://127.0.0.1:8082", description="The billing service.")
    spool_dir: Path = Field(description="Folder of the durable spool; a disk of this instance's own.")
    spool_least_free_mb: int = Field(
        default=256, description="New requests are refused while its disk has less room than this.", ge=0
    )
    reship_seconds: float = Field(
        default=600, description="After how long unbooked usage is sent again; each time twice as long.", gt=0
    )
    watermark_lag_seconds: float = Field(
        default=15, description="How far behind now the watermark of a router is that has nothing to do.", gt=0
    )
    checkpoint_seconds: float = Field(
        default=1, description="How often it is written down what a running stream has delivered.", gt=0
    )
    instance: str = Field(default="router-0", description="This instance's name in events.", min_length=1)
    simulator_url: str = Field(default="", description="Where offers without a credential go. Only with ENV=dev.")
    max_body_bytes: int = Field(default=33 << 20, description="Largest request body; above the edge's.", ge=1024)
    attempts: int = Field(default=4, description="How many offers one request may be tried on.", ge=1, le=20)
    breaker_errors: int = Field(default=5, description="So many failures leave an offer alone for a while …", ge=1)
    breaker_of: int = Field(default=20, description="… among so many of its last calls …", ge=1)
    breaker_window_seconds: float = Field(default=60, description="… within so long.", gt=0)
    breaker_pause_seconds: float = Field(default=5, description="How long it is left alone at first.", gt=0)
    most_cooling_seconds: float = Field(default=60, description="Longest Retry-After of a provider that counts.", ge=0)
    keep_alive_seconds: float = Field(
        default=10, description="After how long without a word a waiting caller gets a sign of life.", gt=0
    )
    signatures_kept: int = Field(
        default=50_000, description="How many thinking signatures of answers are kept, for a day.", ge=0
    )
    signatures_bytes: int = Field(default=64 << 20, description="How much memory they may take.", ge=0)
    hangup_seconds: float = Field(
        default=30, description="How long usage is awaited when a caller hung up.", ge=0, le=45
    )

    @model_validator(mode="after")
    def _refuse_impossible_breaker(self) -> Self:
        if self.breaker_errors > self.breaker_of:
            raise ValueError("breaker_errors cannot be more than breaker_of")
        return self

    @model_validator(mode="after")
    def _refuse_short_lag(self) -> Self:
        if self.watermark_lag_seconds < LEAST_LAG_SECONDS and self.env != "dev":
            raise ValueError(
                f"watermark_lag_seconds below {LEAST_LAG_SECONDS} is for ENV=dev: orders are under way so long"
            )
        return self

    @model_validator(mode="after")
    def _refuse_simulator_in_production(self) -> Self:
        if self.simulator_url and self.env != "dev":
            raise ValueError("simulator_url is for ENV=dev only: customers would pay for made-up answers")
        return self
