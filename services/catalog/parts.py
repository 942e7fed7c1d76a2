"""What the catalog's handlers find in their application."""

from typing import Final

from aiohttp import web

from libs.runtime.postgres import Pool
from services.catalog.settings import CatalogSettings
from services.catalog.window import Window

SETTINGS: Final = web.AppKey("settings", CatalogSettings)
WINDOW: Final = web.AppKey("window", Window)
POOL: Final = web.AppKey("pool", Pool)
