"""Temperature and its kin, and stop sequences. Pure."""

from typing import Any, Final

import msgspec

from libs.contracts.profile import Profile
from libs.errors import InvalidRequest
from services.router.convert.to_messages.fields import Fields

HOTTEST: Final = 1.0  # openai_chat goes up to 2
OPEN_INTERVAL: Final = (0.01, 0.99)
LEAST_TOP_P_THINKING: Final = 0.95  # Anthropic: with thinking, "top_p" may be "between 1 and 0.95"
_number = msgspec.json.Decoder(float)
_count = msgspec.json.Decoder(int)
_stops = msgspec.json.Decoder(str | list[str])


def read(fields: Fields, profile: Profile, *, thinks: bool) -> dict[str, Any]:
    """The fields that are sent. Anthropic: with thinking, neither `temperature` nor `top_k`. Raises InvalidRequest."""
    given = {
        "temperature": _temperature(fields, profile),
        "top_p": _top_p(fields, profile),
        "top_k": _top_k(fields),
    }
    sent = {name: value for name, value in given.items() if value is not None}
    for name in _refused(sent, profile, thinks=thinks):
        fields.drop(name)
        sent.pop(name, None)
    return sent


def stops(fields: Fields, profile: Profile) -> tuple[str, ...]:
    """Anthropic: "each stop sequence must contain non-whitespace"."""
    said = fields.read("stop", _stops) or []
    kept = [stop for stop in ([said] if isinstance(said, str) else said) if stop and not stop.isspace()]
    if len(kept) > profile.max_stop:
        fields.drop("stop")
    return tuple(kept[: profile.max_stop])


def _refused(sent: dict[str, Any], profile: Profile, *, thinks: bool) -> list[str]:
    refused = [] if profile.top_k else ["top_k"]
    if thinks:
        refused += ["temperature", "top_k"]
        if sent.get("top_p", 1) < LEAST_TOP_P_THINKING:
            refused.append("top_p")
    elif profile.one_of_temperature_top_p and "temperature" in sent:
        refused.append("top_p")
    return refused


def _temperature(fields: Fields, profile: Profile) -> float | None:
    said = _not_negative(fields, "temperature")
    return None if said is None else _inside(min(said, HOTTEST, profile.max_temperature), profile)


def _top_p(fields: Fields, profile: Profile) -> float | None:
    said = _not_negative(fields, "top_p")
    return None if said is None else _inside(min(said, 1.0), profile)


def _top_k(fields: Fields) -> int | None:
    """0 and -1 mean all of them, as absence does."""
    said = fields.read("top_k", _count)
    return said if said is not None and said > 0 else None


def _not_negative(fields: Fields, name: str) -> float | None:
    said = fields.read(name, _number)
    if said is not None and said < 0:
        raise InvalidRequest(f"{name} must not be negative.", param=name)
    return said


def _inside(value: float, profile: Profile) -> float:
    if not profile.open_interval_sampling:
        return value
    lowest, highest = OPEN_INTERVAL
    return min(max(value, lowest), highest)
