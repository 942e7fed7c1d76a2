"""What the catalog reads from its environment."""

from typing import ClassVar

from pydantic import Field, SecretStr

from libs.runtime.operators import OperatorSettings
from libs.runtime.sealed import SealedSettings
from libs.runtime.settings import Settings


class StoreSettings(Settings):
    """What the operator's commands need: the tables and nothing else. `TOKENOUTPUT_CATALOG_…`."""

    scope: ClassVar[str] = "catalog"

    database_url: SecretStr = Field(description="PostgreSQL, as role tokenoutput_catalog.")


class SealingSettings(StoreSettings, SealedSettings):
    """What a command needs that seals credentials. `TOKENOUTPUT_CATALOG_…`, else `TOKENOUTPUT_…`."""

    scope: ClassVar[str] = "catalog"


class CatalogSettings(OperatorSettings, SealingSettings):
    """What the service needs. `TOKENOUTPUT_CATALOG_…`, else `TOKENOUTPUT_…`."""

    scope: ClassVar[str] = "catalog"

    port: int = Field(default=8083, description="The service's own port.", ge=0, le=65535)
    admin_port: int = Field(default=9083, description="Port of /livez, /readyz and /metrics.", ge=0, le=65535)
    database_connections: int = Field(default=4, description="Most connections to PostgreSQL.", ge=2)
    poll_seconds: float = Field(
        default=5, description="How often the tables are looked at although nothing was announced.", gt=0
    )
