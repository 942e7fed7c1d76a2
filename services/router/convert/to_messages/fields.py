"""The top-level fields of an openai_chat request, read one by one, and which of them could not be honoured. Pure."""

from typing import Final, TypeVar

import msgspec

from libs.errors import InvalidRequest

T = TypeVar("T")
UNREADABLE: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
NULL: Final = b"null"
SAYS_NOTHING: Final = frozenset({b"false", b"{}", b"[]"})
_decoder = msgspec.json.Decoder(dict[str, msgspec.Raw])


class Fields:
    """A field that is null is absent."""

    def __init__(self, body: bytes) -> None:
        """Raises InvalidRequest for what is no JSON object."""
        try:
            body.decode()  # a Raw is passed on as it came, and so would be bytes that are no text
            found = _decoder.decode(body)
        except RecursionError as error:
            raise InvalidRequest("The body is nested too deeply.") from error
        except UNREADABLE as error:
            raise InvalidRequest(f"The body is not a JSON object: {error}.") from error
        self._fields = {name: raw for name, raw in found.items() if not _is_null(raw)}
        self._dropped: set[str] = set()

    def __contains__(self, name: str) -> bool:
        return name in self._fields

    def read(self, name: str, decoder: "msgspec.json.Decoder[T]") -> T | None:
        """Its value, None when it is absent. Raises InvalidRequest for what ``decoder`` does not take."""
        raw = self._fields.get(name)
        return None if raw is None else decoded(raw, decoder, name)

    def drop(self, *names: str) -> None:
        """They could not be honoured."""
        self._dropped.update(names)

    def drop_unless(self, honoured: frozenset[str]) -> None:
        """All others could not be honoured, unless they say nothing."""
        for name in self._fields.keys() - honoured:
            if bytes(self._fields[name]) not in SAYS_NOTHING:
                self._dropped.add(name)

    @property
    def dropped(self) -> tuple[str, ...]:
        return tuple(name for name in self._fields if name in self._dropped)


def decoded(raw: bytes | msgspec.Raw, decoder: "msgspec.json.Decoder[T]", where: str) -> T:
    """Raises InvalidRequest that names ``where`` and the place in it."""
    try:
        return decoder.decode(raw)
    except RecursionError as error:
        raise InvalidRequest(f"{where} is nested too deeply.", param=where) from error
    except UNREADABLE as error:
        what, _, inside = str(error).partition(" - at `$")
        param = where + inside.rstrip("`")
        raise InvalidRequest(f"Invalid value for {param}: {what}.", param=param) from error


def _is_null(raw: msgspec.Raw) -> bool:
    return memoryview(raw).nbytes == len(NULL) and bytes(raw) == NULL
