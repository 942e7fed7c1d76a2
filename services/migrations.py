"""Which services own tables, and where their migrations lie."""

from pathlib import Path
from typing import ClassVar

from pydantic import Field, SecretStr

from libs.runtime.migrate import Owner
from libs.runtime.settings import Settings

_HERE = Path(__file__).parent


class MigrateSettings(Settings):
    """The owner of the database, and each service's own URL, whose password its role is given."""

    scope: ClassVar[str] = "migrate"

    owner_database_url: SecretStr = Field(description="PostgreSQL, as the owner of the database.")
    edge_database_url: SecretStr = Field(description="PostgreSQL, as role tokenoutput_edge.")
    billing_database_url: SecretStr = Field(description="PostgreSQL, as role tokenoutput_billing.")
    catalog_database_url: SecretStr = Field(description="PostgreSQL, as role tokenoutput_catalog.")

    def owners(self) -> list[Owner]:
        return owners(
            self.edge_database_url.get_secret_value(),
            self.billing_database_url.get_secret_value(),
            self.catalog_database_url.get_secret_value(),
        )


def owners(edge_url: str, billing_url: str, catalog_url: str) -> list[Owner]:
    """The owners in the order in which they are migrated."""
    urls = {"catalog": catalog_url, "billing": billing_url, "edge": edge_url}
    return [Owner(name, _HERE / name / "migrations", url) for name, url in urls.items()]
