"""What the edge's handlers find in their application."""

from typing import Final

from aiohttp import web

from libs.runtime.catalog import LiveShelf
from libs.runtime.holds import Holds
from services.edge.admission import Admission
from services.edge.callers import Callers
from services.edge.neighbours import Billing
from services.edge.relay import Relay
from services.edge.settings import EdgeSettings

SETTINGS: Final = web.AppKey("settings", EdgeSettings)
CALLERS: Final = web.AppKey("callers", Callers)
SHELF: Final = web.AppKey("shelf", LiveShelf)
ADMISSION: Final = web.AppKey("admission", Admission)
HOLDS: Final = web.AppKey("holds", Holds)
BILLING: Final = web.AppKey("billing", Billing)
RELAY: Final = web.AppKey("relay", Relay)
