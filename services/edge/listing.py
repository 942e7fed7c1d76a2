"""The shelf in the two protocols' list shapes, with prices as decimal strings. Pure.

The rich fields follow OpenRouter's model object (`context_length`, `pricing` in USD per token, `supported_parameters`),
which many clients read already; `object` and `owned_by` keep plain OpenAI SDKs content.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

from libs.contracts.catalog import Model
from libs.pricing import NANO, PER_TOKENS, Override, Rates

DEFAULT_LIMIT: Final = 20
MAX_LIMIT: Final = 1000
DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


class Page(NamedTuple):
    models: Sequence[Model]
    has_more: bool


def page(models: Sequence[Model], limit: int, after: str | None, before: str | None) -> Page:
    """Anthropic's cursors: the ``limit`` models after one id, or before one."""
    ids = [model.id for model in models]
    if before in ids:
        end = ids.index(before)
        return Page(models[max(0, end - limit) : end], end > limit)
    start = ids.index(after) + 1 if after in ids else 0
    return Page(models[start : start + limit], start + limit < len(models))


def openai_list(models: Sequence[Model]) -> dict[str, Any]:
    return {"object": "list", "data": [openai_model(model) for model in models]}


def openai_model(model: Model) -> dict[str, Any]:
    return {"id": model.id, "object": "model", "created": model.created, "owned_by": model.owned_by, **_rich(model)}


def anthropic_list(found: Page) -> dict[str, Any]:
    data = [anthropic_model(model) for model in found.models]
    return {
        "data": data,
        "has_more": found.has_more,
        "first_id": data[0]["id"] if data else None,
        "last_id": data[-1]["id"] if data else None,
    }


def anthropic_model(model: Model) -> dict[str, Any]:
    created = datetime.fromtimestamp(model.created, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {"type": "model", "id": model.id, "display_name": model.name, "created_at": created, **_rich(model)}


def _rich(model: Model) -> dict[str, Any]:
    return {
        "name": model.name,
        "description": model.description,
        "context_length": model.context_tokens,
        "max_completion_tokens": model.max_output_tokens,
        "architecture": {
            "input_modalities": list(model.input_modalities),
            "output_modalities": list(model.output_modalities),
        },
        "supported_parameters": list(model.supported_parameters),
        "protocols": list(model.protocols),
        "served_as": model.served_as,
        "price_id": model.price_id,
        "pricing": {**_per_token(model.price.rates), "overrides": [_override(o) for o in model.price.overrides]},
    }


def _per_token(rates: Rates) -> dict[str, str]:
    return {
        "prompt": per_token(rates.input),
        "completion": per_token(rates.output),
        "input_cache_read": per_token(rates.cache_read),
        "input_cache_write": per_token(rates.cache_write),
        "input_cache_write_1h": per_token(rates.cache_write_1h),
    }


def per_token(rate: int) -> str:
    """nano-USD per million tokens as exact decimal USD per token."""
    whole, rest = divmod(rate, NANO * PER_TOKENS)
    return f"{whole}.{rest:015d}".rstrip("0").rstrip(".")


def _override(override: Override) -> dict[str, Any]:
    conditions: dict[str, Any] = {
        "min_prompt_tokens": override.above_prompt_tokens,
        "utc_start": _clock(override.utc_start),
        "utc_end": _clock(override.utc_end),
        "utc_days": [DAYS[day] for day in override.utc_days] if override.utc_days is not None else None,
    }
    return {**{k: v for k, v in conditions.items() if v is not None}, **_per_token(override.rates)}


def _clock(minute: int | None) -> str | None:
    return None if minute is None else f"{minute // 60:02d}{minute % 60:02d}"
