"""A provider as the document describes it: where it listens, in which protocols, and what its models inherit."""

import ipaddress
import re
from collections.abc import Mapping
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from libs.contracts.catalog import AuthStyle, Credential, OnDisconnect, Provider
from libs.protocols import OPENAI_CHAT, PROTOCOLS, Protocol
from services.catalog.credentials import read_credentials
from services.catalog.fields import Fields
from services.catalog.profiles import Row, Rows, row_of

AUTH_STYLES: Final[tuple[AuthStyle, ...]] = ("bearer", "x-api-key")
ON_DISCONNECT: Final[tuple[OnDisconnect, ...]] = ("cancel", "drain")


class Source(NamedTuple):
    """A provider, where it stands, its credentials as they stand there, and what an offer of it inherits."""

    fields: Fields
    provider: Provider
    credentials: tuple[Credential, ...]
    protocol: Protocol
    on_disconnect: OnDisconnect
    profiles: Mapping[Protocol, Row]


class _Endpoint(NamedTuple):
    url: str
    auth: AuthStyle
    profile: Row


def read_source(fields: Fields, provider_id: str, rows: Rows) -> Source:
    """Meaningless when mistakes were noted."""
    with fields:
        endpoints = _endpoints(fields.table("protocols"), rows)
        default = fields.choice("default_protocol", PROTOCOLS)
        if default is not None and endpoints and default not in endpoints:
            fields.wrong(f"the provider has no base URL for {default}", "default_protocol")
        on_disconnect = fields.choice("on_disconnect", ON_DISCONNECT) or "drain"
        name = fields.text("name")
        credentials = read_credentials(fields, provider_id)
    urls = {protocol: endpoint.url for protocol, endpoint in endpoints.items()}
    auth = {protocol: endpoint.auth for protocol, endpoint in endpoints.items()}
    spoken: Protocol = default if default is not None and default in urls else next(iter(urls), OPENAI_CHAT)
    profiles = {protocol: endpoint.profile for protocol, endpoint in endpoints.items()}
    provider = Provider(provider_id, name, urls, auth, credentials[0].variable)
    return Source(fields, provider, credentials, spoken, on_disconnect, profiles)


def _endpoints(fields: Fields, rows: Rows) -> dict[Protocol, _Endpoint]:
    found: dict[Protocol, _Endpoint] = {}
    with fields:
        for protocol in PROTOCOLS:
            if fields.maybe(protocol) is None:
                continue
            with fields.table(protocol) as endpoint:
                auth = endpoint.choice("auth", AUTH_STYLES) or "bearer"
                found[protocol] = _Endpoint(_base_url(endpoint), auth, row_of(endpoint, protocol, rows))
        if not found:
            fields.wrong(f"must hold at least one of {', '.join(PROTOCOLS)}")
    return found


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
