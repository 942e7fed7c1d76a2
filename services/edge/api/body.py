"""A request's body, whole and within its limit, however it was packed."""

import zlib
from typing import Final

from aiohttp import web

from libs.errors import InvalidRequest, RequestTooLarge

GZIP: Final = "gzip"
PLAIN: Final = frozenset({"", "identity"})
UNSUPPORTED: Final = {"details": {"error_code": "request_body_encoding_unsupported"}}  # as Anthropic's SDK knows them
INVALID: Final = {"details": {"error_code": "request_body_encoding_invalid"}}


async def read(request: web.Request, limit: int) -> bytes:
    """The bytes as they were before they were packed; ``limit`` is for both. Raises InvalidRequest or
    RequestTooLarge."""
    encoding = request.headers.get("content-encoding", "").strip().lower()
    if encoding != GZIP and encoding not in PLAIN:
        raise InvalidRequest(
            f"The content-encoding {encoding[:40]!r} is not supported: send the body as it is, or with gzip.",
            extra=UNSUPPORTED,
        )
    if (request.content_length or 0) > limit:
        raise _too_large(limit)
    body = await request.read()  # stops, with a 413, at what the application was told to take
    if encoding == GZIP:
        body = unpacked(body, limit)
    if not body:
        raise InvalidRequest("The request has no body: send a JSON object.")
    return body


def unpacked(packed: bytes, limit: int) -> bytes:
    """Out of gzip, and never more than ``limit`` bytes of memory for it. Raises InvalidRequest or RequestTooLarge."""
    stream = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)
    try:
        body = stream.decompress(packed, limit + 1)
    except zlib.error as error:
        raise InvalidRequest("The body is not what its content-encoding says: gzip.", extra=INVALID) from error
    if len(body) > limit:
        raise _too_large(limit)
    if not stream.eof or stream.unused_data:
        raise InvalidRequest("The body is not one whole gzip file, as its content-encoding says.", extra=INVALID)
    return body


def _too_large(limit: int) -> RequestTooLarge:
    return RequestTooLarge(f"The request body is larger than {limit} bytes.")
