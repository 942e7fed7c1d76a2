"""What names on the shelf look like, each with the words that explain it; and how large its numbers may be."""

import re
from typing import Final

NAME: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
NAME_SHAPE: Final = "up to 64 lower-case letters, digits, dots, dashes or underscores"
OFFER: Final = re.compile(r"[a-z0-9][a-z0-9._@-]{0,127}")
OFFER_SHAPE: Final = "lower-case letters, digits, dots, dashes, underscores or @"
UPSTREAM: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@-]{0,127}")
UPSTREAM_SHAPE: Final = "a provider's model name: letters, digits and . _ : / @ - only"
VARIABLE: Final = re.compile(r"[A-Z][A-Z0-9_]*")
VARIABLE_SHAPE: Final = "the name of an environment variable, never the credential itself"
MAX_WEIGHT: Final = 1000
MAX_CONCURRENT: Final = 1_000_000
