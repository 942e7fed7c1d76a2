"""Temperature and its kin, and where the text stops. Pure."""

from typing import Any, Final

import msgspec
from msgspec import Raw

from libs.contracts.profile import Profile
from libs.errors import InvalidRequest
from services.router.convert.to_chat import wire

INSIDE: Final = (0.01, 0.99)
KNOWN: Final = ("temperature", "top_p", "top_k", "stop_sequences")


class Sampling(msgspec.Struct):
    """``fields`` go into the body; ``dropped`` names what was not honoured."""

    fields: dict[str, Any] = msgspec.field(default_factory=dict)
    dropped: list[str] = msgspec.field(default_factory=list)


def sampling(fields: dict[str, Raw], profile: Profile) -> Sampling:
    """Of the body's ``fields`` those that are KNOWN."""
    found = Sampling()
    _heat(fields, profile, found)
    _top_k(fields, profile, found)
    _stops(fields, profile, found)
    return found


def _heat(fields: dict[str, Raw], profile: Profile, found: Sampling) -> None:
    for name, most in (("temperature", profile.max_temperature), ("top_p", 1)):
        value = _number(fields, name)
        if value is None:
            continue
        if name == "top_p" and profile.one_of_temperature_top_p and "temperature" in found.fields:
            found.dropped.append(name)
        else:
            found.fields[name] = _within(value, most, profile)


def _within(value: float, most: float, profile: Profile) -> float:
    """zai-sdk itself turns what lies outside the open interval into its ends."""
    lowest, highest = INSIDE if profile.open_interval_sampling else (0, most)
    return min(max(value, lowest), highest)


def _number(fields: dict[str, Raw], name: str) -> float | None:
    raw = fields.get(name)
    value = wire.read(wire.anything, raw, name) if raw is not None else None
    if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
        raise InvalidRequest(f"{name}: Input should be a valid number", param=name)
    return value


def _top_k(fields: dict[str, Raw], profile: Profile, found: Sampling) -> None:
    value = _number(fields, "top_k")
    if value is None:
        return
    if not isinstance(value, int) or not 0 <= value < 2**31:
        raise InvalidRequest("top_k: Input should be a valid integer", param="top_k")
    if profile.top_k:
        found.fields["top_k"] = value
    else:
        found.dropped.append("top_k")


def _stops(fields: dict[str, Raw], profile: Profile, found: Sampling) -> None:
    """Always an array (QuantumNous/new-api#7175), the first ones where there are more than the provider takes."""
    raw = fields.get("stop_sequences")
    given = wire.read(wire.texts, raw, "stop_sequences") if raw is not None else None
    stops = [stop for stop in given or () if stop]
    if stops[: profile.max_stop]:
        found.fields["stop"] = stops[: profile.max_stop]
    if len(stops) > profile.max_stop:
        found.dropped.append("stop_sequences")
