"""A provider's credentials as the document names them: variables of the environment, never a secret."""

from collections.abc import Iterable

from libs.contracts.catalog import Credential
from services.catalog import names
from services.catalog.fields import Fields


def read_credentials(fields: Fields, provider: str) -> tuple[Credential, ...]:
    """The one that `credential` names, then the items of `credentials`. Meaningless when mistakes were noted.

    An item with the provider's own id has no variable: it stands for the first one and says more about it.
    """
    first = Credential(provider, provider, fields.text("credential", names.VARIABLE, names.VARIABLE_SHAPE))
    found = [first]
    for table in fields.tables("credentials"):
        credential = _credential(table, first)
        if credential.id and credential.id in {known.id for known in found[1:]}:
            table.wrong(f"{credential.id!r} is there twice", "id")
        if credential.id != provider and credential.variable in {known.variable for known in found} - {""}:
            table.wrong("is the variable of another credential of this provider", "variable")
        found.append(credential)
    return tuple(found)


def _credential(fields: Fields, first: Credential) -> Credential:
    with fields:
        name = fields.text("id", names.NAME, names.NAME_SHAPE)
        if name == first.id:
            variable = first.variable
            if fields.maybe("variable") is not None:
                fields.wrong("is what `credential` says", "variable")
        else:
            variable = fields.text("variable", names.VARIABLE, names.VARIABLE_SHAPE)
        return Credential(
            id=name,
            provider=first.provider,
            variable=variable,
            weight=read_weight(fields),
            max_concurrent=_max_concurrent(fields),
        )


def read_weight(fields: Fields) -> int:
    return 1 if fields.maybe("weight") is None else fields.whole("weight", 1, names.MAX_WEIGHT)


def _max_concurrent(fields: Fields) -> int | None:
    if fields.maybe("max_concurrent") is None:
        return None
    return fields.whole("max_concurrent", 1, names.MAX_CONCURRENT)


def in_order(credentials: Iterable[Credential]) -> tuple[Credential, ...]:
    """By provider: its first one, then the others by id. Of two with one id the later one stands."""
    last = {credential.id: credential for credential in credentials}
    return tuple(sorted(last.values(), key=lambda found: (found.provider, found.id != found.provider, found.id)))
