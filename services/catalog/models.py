"""A model as the document describes it: what it is, what it costs, and the offers that serve it."""

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from msgspec.structs import replace

from libs.contracts.catalog import Deadlines, Model, Offer
from libs.pricing import Price, Rates, version_of
from libs.protocols import OPENAI_CHAT, PROTOCOLS, Protocol
from services.catalog import names
from services.catalog.credentials import read_weight
from services.catalog.deadlines import Given, read_deadlines
from services.catalog.fields import Fields
from services.catalog.prices import read_price
from services.catalog.profiles import Row, resolved
from services.catalog.providers import Source

MAX_PRIORITY: Final = 1000
PROVIDER_DEFAULT: Final = "provider_default"
CALLABLE: Final[tuple[Protocol, ...]] = tuple(sorted(PROTOCOLS))  # what a provider does not speak is converted
MODALITIES: Final = ("text", "image", "file", "audio", "video")
PARAMETERS: Final = (
    *("frequency_penalty", "logit_bias", "logprobs", "max_tokens", "min_p", "parallel_tool_calls"),
    *("presence_penalty", "reasoning", "reasoning_effort", "repetition_penalty", "response_format", "seed"),
    *("stop", "stream", "structured_outputs", "temperature", "thinking", "tool_choice", "tools"),
    *("top_k", "top_logprobs", "top_p"),
)


class Entry(NamedTuple):
    """A model of the document, where it stands, and its offers as they stand there. A disabled one is not sold."""

    fields: Fields
    id: str
    served_as: str | None
    offers: tuple[Offer, ...]
    sold: Model | None


class _Wanted(NamedTuple):
    """What a model says about all of its offers."""

    model: str
    sources: Mapping[str, Source]
    override: Protocol | None
    deadlines: Given
    images: bool


def read_entry(fields: Fields, model: str, sources: Mapping[str, Source]) -> Entry:
    """Meaningless when mistakes were noted."""
    with fields:
        enabled = fields.flag("enabled", default=True)
        modalities = fields.choices("input_modalities", MODALITIES, ("text",))
        offers = _offers(fields, model, sources, images="image" in modalities)
        if enabled and not fields.maybe("offers"):
            fields.wrong("is missing: an enabled model needs at least one", "offers")
        served_as = _served_as(fields, model, offers)
        sold = _model(fields, model, served_as, modalities, enabled=enabled)
    return Entry(fields, model, served_as, offers, sold if enabled else None)


def _model(fields: Fields, model: str, served_as: str | None, modalities: tuple[str, ...], *, enabled: bool) -> Model:
    context, output = fields.tokens("context_tokens"), fields.tokens("max_output_tokens")
    if 0 < context < output:
        fields.wrong("is more than context_tokens", "max_output_tokens")
    price = _price(fields, model, context, enabled=enabled)
    return Model(
        id=model,
        name=fields.text("name"),
        description=fields.text("description"),
        owned_by=fields.text("owned_by"),
        created=fields.day("created"),
        context_tokens=context,
        max_output_tokens=output,
        price_id=version_of(price),
        price=price,
        protocols=CALLABLE,
        input_modalities=modalities,
        output_modalities=fields.choices("output_modalities", MODALITIES, ("text",)),
        supported_parameters=fields.choices("supported_parameters", PARAMETERS),
        served_as=served_as,
    )


def _price(fields: Fields, model: str, context_tokens: int, *, enabled: bool) -> Price:
    if fields.maybe("price") is not None:
        return read_price(fields.table("price"), model, context_tokens)
    if enabled:
        fields.wrong("is missing: an enabled model is never sold unpriced", "price")
    return Price(model, Rates(0, 0, 0, 0, 0))


def _offers(fields: Fields, model: str, sources: Mapping[str, Source], *, images: bool) -> tuple[Offer, ...]:
    word = fields.choice("protocol", (PROVIDER_DEFAULT, *PROTOCOLS), PROVIDER_DEFAULT)
    override = next((protocol for protocol in PROTOCOLS if protocol == word), None)
    wanted = _Wanted(model, sources, override, read_deadlines(fields, {}), images=images)
    tables = fields.tables("offers")
    _refuse_mixed_priorities(tables)
    return tuple(_offer(table, wanted, place) for place, table in enumerate(tables))


def _refuse_mixed_priorities(tables: Sequence[Fields]) -> None:
    """Either every offer says where it stands, or the order of the document does."""
    for table in tables:
        if "priority" not in table and any("priority" in other for other in tables):
            table.wrong("is missing: other offers of this model have one", "priority")


def _offer(fields: Fields, wanted: _Wanted, place: int) -> Offer:
    with fields:
        priority = place if fields.maybe("priority") is None else fields.whole("priority", 0, MAX_PRIORITY)
        weight = read_weight(fields)
        if "weight" in fields and "priority" not in fields:
            fields.wrong("needs a priority: it is the share among offers that have the same one", "weight")
        deadlines = Deadlines(**read_deadlines(fields, wanted.deadlines))
        offer = _placed(fields, wanted, priority)
    return replace(offer, weight=weight, deadlines=deadlines)


def _placed(fields: Fields, wanted: _Wanted, priority: int) -> Offer:
    provider = fields.choice("provider", wanted.sources)
    upstream = fields.text("upstream_model", names.UPSTREAM, names.UPSTREAM_SHAPE)
    given = fields.maybe("id") is not None
    offer_id = fields.text("id", names.OFFER, names.OFFER_SHAPE) if given else f"{wanted.model}@{provider}"
    if provider is None:
        resolved(fields, Row("", OPENAI_CHAT, {}, sound=False), images=wanted.images)
        return Offer(offer_id, wanted.model, "", OPENAI_CHAT, upstream, "drain", priority)
    source = wanted.sources[provider]
    protocol = wanted.override or source.protocol
    row = source.profiles.get(protocol, Row("", protocol, {}, sound=False))
    profile = resolved(fields, row, images=wanted.images)
    if source.provider.base_urls and protocol not in source.provider.base_urls:
        fields.wrong(f"{provider} has no base URL for {protocol}", "provider")
    return Offer(offer_id, wanted.model, provider, protocol, upstream, source.on_disconnect, priority, profile)


def _served_as(fields: Fields, model: str, offers: Sequence[Offer]) -> str | None:
    """The name of what is really behind the model, where that is not the model's own."""
    if fields.maybe("served_as") is None:
        for index, offer in enumerate(offers):
            if offer.upstream_model not in ("", model):
                reason = "is not the model's own name, so customers must be told: give the model served_as"
                fields.wrong(reason, "offers", index, "upstream_model")
        return None
    served_as = fields.text("served_as", names.UPSTREAM, names.UPSTREAM_SHAPE)
    if served_as == model:
        fields.wrong("is the model's own name: leave it out", "served_as")
    return served_as
