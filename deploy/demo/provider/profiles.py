"""What differs between providers, as data: one row each, named by the first part of the path they are called under."""

from collections.abc import Mapping
from typing import Final, Literal

import msgspec

ErrorBody = Literal["plain", "with_request_id", "numbered"]


class Profile(msgspec.Struct, frozen=True, kw_only=True):
    """One provider's habits.

    ``hit_and_miss``: usage also says ``prompt_cache_hit_tokens`` and ``prompt_cache_miss_tokens``.
    ``cache_write``: the detail of ``usage`` that tells cache writes, None when there is no such figure.
    ``opens_with_reasoning``: the first chunk of a thinking answer carries ``reasoning_content: ""``.
    ``null_phases``: each chunk names the field of the other phase as null.
    ``wants_version``: `/v1/messages` refuses a request without ``anthropic-version``.
    ``runs_on``: when the caller hangs up, the answer is made, and billed, to its end.
    ``codes``: the ``code`` of an openai_chat error by status.
    """

    hit_and_miss: bool = False
    cache_write: str | None = None
    opens_with_reasoning: bool = False
    null_phases: bool = False
    wants_version: bool = True
    runs_on: bool = True
    error_body: ErrorBody = "plain"
    codes: Mapping[int, str] = {}


_OPENAI_CODES: Final = {401: "invalid_api_key", 402: "insufficient_quota", 404: "model_not_found", 429: "rate_limit"}

USUAL: Final = Profile(cache_write="cache_write_tokens", codes=_OPENAI_CODES)

_DEEPSEEK: Final = Profile(
    hit_and_miss=True,
    opens_with_reasoning=True,
    wants_version=False,
    runs_on=False,
    codes=dict.fromkeys((400, 401, 402, 422, 429), "invalid_request_error"),
)

_QWEN: Final = Profile(
    cache_write="cache_creation_input_tokens",
    null_phases=True,
    error_body="with_request_id",
    codes={
        400: "invalid_parameter_error",
        401: "invalid_api_key",
        402: "Arrearage",
        404: "model_not_found",
        429: "limit_requests",
        500: "internal_error",
    },
)

_GLM: Final = Profile(
    error_body="numbered",
    codes={400: "1210", 401: "1000", 402: "1113", 404: "1211", 429: "1302", 500: "500", 503: "1305"},
)

_BY_NAME: Final = {
    "deepseek": _DEEPSEEK,
    "alibaba": _QWEN,
    "dashscope": _QWEN,
    "qwen": _QWEN,
    "glm": _GLM,
    "zai": _GLM,
    "zhipu": _GLM,
}


def profile_of(provider: str) -> Profile:
    """The provider's row, or the habits that most of them share."""
    return _BY_NAME.get(provider, USUAL)
