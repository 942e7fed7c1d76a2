"""A provider as the document describes it: where it listens, in which protocols, and what its models inherit."""

import ipaddress
import re
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from libs.contracts.catalog import AuthStyle, OnDisconnect, Provider
from libs.protocols import OPENAI_CHAT, PROTOCOLS, Protocol
from services.catalog import names
from services.catalog.fields import Fields

AUTH_STYLES: Final[tuple[AuthStyle, ...]] = ("bearer", "x-api-key")
ON_DISCONNECT: Final[tuple[OnDisconnect, ...]] = ("cancel", "drain")


class Source(NamedTuple):
    """A provider and what an offer of it inherits."""

    provider: Provider
    protocol: Protocol
    on_disconnect: OnDisconnect


def read_source(fields: Fields, provider_id: str) -> Source:
    """Meaningless when mistakes were noted."""
    with fields:
        urls, auth = _endpoints(fields.table("protocols"))
        default = fields.choice("default_protocol", PROTOCOLS)
        if default is not None and urls and default not in urls:
            fields.wrong(f"the provider has no base URL for {default}", "default_protocol")
        on_disconnect = fields.choice("on_disconnect", ON_DISCONNECT) or "drain"
        name = fields.text("name")
        credential = fields.text("credential", names.VARIABLE, names.VARIABLE_SHAPE)
    spoken: Protocol = default if default is not None and default in urls else next(iter(urls), OPENAI_CHAT)
    return Source(Provider(provider_id, name, urls, auth, credential), spoken, on_disconnect)


def _endpoints(fields: Fields) -> tuple[dict[Protocol, str], dict[Protocol, AuthStyle]]:
    urls: dict[Protocol, str] = {}
    auth: dict[Protocol, AuthStyle] = {}
    with fields:
        for protocol in PROTOCOLS:
            if fields.maybe(protocol) is None:
                continue
            with fields.table(protocol) as endpoint:
                urls[protocol] = _base_url(endpoint)
                auth[protocol] = endpoint.choice("auth", AUTH_STYLES) or "bearer"
        if not urls:
            fields.wrong(f"must hold at least one of {', '.join(PROTOCOLS)}")
    return urls, auth


def _base_url(endpoint: Fields) -> str:
    url = endpoint.text("base_url")
    if url and (fault := fault_of(url)):
        endpoint.wrong(fault, "base_url")
    return url


def fault_of(url: str) -> str | None:
    """Why this may not be a base URL, or None."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        return "is not a URL"
    if parts.scheme not in ("http", "https") or not host or re.search(r"[\s\x00-\x1f\\]", url):
        return "must be a URL like https://api.example.com/v1"
    if parts.scheme == "http" and not _is_loopback(host):
        return "must be https: the credential travels with every request"
    if "@" in parts.netloc or "?" in url or "#" in url or url.endswith("/"):
        return "must be bare: no user, no query, no fragment, no slash at the end"
    return None


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
