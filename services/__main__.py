"""The one entry point: `python -m services [ROLE…]` runs the named services, all of them when none is named;
`python -m services migrate` brings the database up to date."""

import asyncio
import sys
from importlib import import_module
from typing import Final

from libs.runtime import logging
from libs.runtime.migrate import migrate
from libs.runtime.run import Part, serve
from libs.runtime.settings import Settings, load
from services.migrations import MigrateSettings

ROLES: Final = ("catalog", "billing", "router", "edge")  # those that others call come first: they stop last
USAGE: Final = f"usage: python -m services [{' | '.join(ROLES)}]… or python -m services migrate"


def main(arguments: list[str]) -> None:
    if arguments == ["migrate"]:
        settings = load(MigrateSettings)
        logging.configure(settings.log_format, settings.log_level)
        asyncio.run(migrate(settings.owner_database_url.get_secret_value(), settings.owners()))
        return
    if unknown := set(arguments) - set(ROLES):
        raise SystemExit(f"no such service: {', '.join(sorted(unknown))}\n{USAGE}")
    shared = load(Settings)
    logging.configure(shared.log_format, shared.log_level)
    asyncio.run(serve([part(role) for role in ROLES if role in arguments or not arguments]))


def part(role: str) -> Part:
    """The service of this name. Imported only when it is run, so that an edge never loads what only billing needs."""
    settings = load(getattr(import_module(f"services.{role}.settings"), f"{role.capitalize()}Settings"))
    return Part(import_module(f"services.{role}.app").create_app(settings), settings)


if __name__ == "__main__":
    main(sys.argv[1:])
