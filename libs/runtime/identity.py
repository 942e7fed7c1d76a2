"""Services prove to each other who they are: a JWT of 60 seconds with issuer, audience and expiry (RFC 7519).

Minting and checking are cached, so that a call on the hot path costs a dictionary look-up.
"""

import time
import uuid
from collections.abc import Callable
from typing import Final

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import OctKey

LIFETIME_SECONDS: Final = 60
REMINT_SECONDS: Final = 30
LEEWAY_SECONDS: Final = 5
MAX_CACHED: Final = 1024
ALGORITHM: Final = "HS256"


class NotTrusted(Exception):
    """The token is missing, forged, expired or meant for somebody else."""


class Identity:
    """One service's name and the secret it shares with the others."""

    def __init__(self, name: str, secret: bytes, clock: Callable[[], float] = time.time) -> None:
        self.name = name
        self._key = OctKey.import_key(secret)
        self._clock = clock
        self._minted: dict[str, tuple[float, str]] = {}
        self._seen: dict[str, tuple[float, str]] = {}

    def authorization(self, audience: str) -> dict[str, str]:
        """The header that a call to ``audience`` needs."""
        now = self._clock()
        fresh_until, token = self._minted.get(audience, (0.0, ""))
        if now >= fresh_until:
            token = self._mint(audience, now)
            self._minted[audience] = (now + REMINT_SECONDS, token)
        return {"authorization": f"Bearer {token}"}

    def caller(self, authorization: str | None) -> str:
        """The service that made a call. Raises NotTrusted."""
        token = (authorization or "").removeprefix("Bearer ")
        now = self._clock()
        expires, issuer = self._seen.get(token, (0.0, ""))
        if now < expires:
            return issuer
        expires, issuer = self._verify(token, now)
        if len(self._seen) >= MAX_CACHED:
            self._seen.clear()
        self._seen[token] = (expires, issuer)
        return issuer

    def _mint(self, audience: str, now: float) -> str:
        claims = {"iss": self.name, "aud": audience, "exp": int(now) + LIFETIME_SECONDS, "jti": uuid.uuid4().hex}
        return jwt.encode({"alg": ALGORITHM}, claims, self._key)

    def _verify(self, token: str, now: float) -> tuple[float, str]:
        try:
            claims = jwt.decode(token, self._key, algorithms=[ALGORITHM]).claims
        except (JoseError, ValueError, TypeError) as error:
            raise NotTrusted("the service token is missing or forged") from error
        issuer, expires = claims.get("iss"), claims.get("exp")
        if claims.get("aud") != self.name or not isinstance(issuer, str) or not isinstance(expires, int):
            raise NotTrusted("the service token is meant for somebody else")
        if now >= expires + LEEWAY_SECONDS:
            raise NotTrusted("the service token has expired")
        return float(expires), issuer
