"""A small shelf without a mistake, for tests to put one in."""

from typing import Final

SHELF: Final = """\
[providers.acme]
name = "Acme Models"
credential = "ACME_API_KEY"
default_protocol = "openai_chat"
on_disconnect = "drain"

[providers.acme.protocols.openai_chat]
base_url = "https://api.acme.example/v1"
auth = "bearer"

[models.acme-one]
name = "Acme One"
description = "The first of them."
owned_by = "acme"
created = 2026-01-31
context_tokens = 100_000
max_output_tokens = 8_000
supported_parameters = ["max_tokens", "tools"]

[[models.acme-one.offers]]
provider = "acme"
upstream_model = "acme-one"

[models.acme-one.price]
input = "0.27"
output = "1.10"
cache_read = "0.07"
cache_write = "0.27"
cache_write_1h = "0.54"

[[models.acme-one.price.overrides]]
above_prompt_tokens = 32_000
input = "0.54"
output = "2.20"
cache_read = "0.14"
cache_write = "0.54"
cache_write_1h = "1.08"
"""


def edited(old: str, new: str, text: str = SHELF) -> str:
    """The text with the one place that says ``old`` saying ``new``."""
    assert text.count(old) == 1, f"{old!r} stands {text.count(old)} times"
    return text.replace(old, new)


def line_of(part: str, text: str) -> int:
    """The number of the one line that holds ``part``."""
    (found,) = [number for number, line in enumerate(text.splitlines(), 1) if part in line]
    return found
