"""Which tool call a streamed fragment belongs to. Pure.

By the protocol its `index` says so. Some providers leave it out, some say 0 for every call, some repeat id, name or
even all arguments in every fragment, some cut the name in pieces.
"""

from typing import Any

import msgspec

from services.router.convert.answers.inputs import compact
from services.router.convert.surrogates import mended

Fragment = dict[str, Any]


class Call:
    """One tool call so far. ``index`` is what the provider calls it, ``order`` counts the calls from 0."""

    __slots__ = ("_asked_at", "_size", "_whole", "id", "index", "name", "order", "pieces")

    def __init__(self, order: int, index: int | None) -> None:
        self.order, self.index = order, index
        self.id = self.name = ""
        self.pieces: list[str] = []
        self._size = self._asked_at = 0
        self._whole = False

    @property
    def whole(self) -> bool:
        """Its arguments are a complete JSON object: nothing can follow. Asked often, so it is looked at once a size."""
        if self._asked_at != self._size:
            self._asked_at = self._size
            self._whole = self.pieces[-1].rstrip().endswith("}") and is_object("".join(self.pieces))
        return self._whole

    def hear(self, fragment: Fragment) -> str:
        """Takes a fragment of this call. Returns the arguments that are new in it. The name may come in pieces, but
        not after the arguments began."""
        self.id = self.id or id_of(fragment)
        name = name_of(fragment)
        if name != self.name and not (self.name and self.pieces):
            self.name += name
        said = arguments_of(fragment)
        if not said or self._is_repeated(said):
            return ""
        self.pieces.append(said)
        self._size += len(said)
        return said

    def _is_repeated(self, said: str) -> bool:
        """All arguments once more, after they were whole."""
        return len(said) == self._size and self.whole and said == "".join(self.pieces)


class Calls:
    """The calls of one choice, in the order in which they appeared."""

    def __init__(self) -> None:
        self.all: list[Call] = []
        self._at: dict[int, Call] = {}
        self._named: dict[tuple[int | None, str], Call] = {}

    def of(self, fragment: Fragment) -> Call:
        """The call that has to hear this fragment."""
        index, said = index_of(fragment), id_of(fragment)
        call = self._without_index(fragment, said) if index is None else self._with_index(index, fragment, said)
        if call is None:
            call = Call(len(self.all), index)
            self.all.append(call)
        if index is not None:
            self._at[index] = call
        if said:
            self._named.setdefault((index, said), call)
            self._named.setdefault((None, said), call)
        return call

    def _without_index(self, fragment: Fragment, said: str) -> Call | None:
        """The call with this id; a fragment with an id or a name that is new begins one; else the last."""
        if said or name_of(fragment):
            return self._named.get((None, said))
        return self.all[-1] if self.all else None

    def _with_index(self, index: int, fragment: Fragment, said: str) -> Call | None:
        """The call at this index, unless another id together with a name says that it is another one."""
        call = self._at.get(index)
        if call is None:
            return None
        if not said:
            return None if not call.id and _begins_another(fragment, call) else call
        if said == call.id:
            return call
        known = self._named.get((index, said))
        return known or (None if call.id and name_of(fragment) else call)


def _begins_another(fragment: Fragment, call: Call) -> bool:
    """For providers that give no ids either: another name, after the arguments were whole."""
    return name_of(fragment) not in ("", call.name) and call.whole


def index_of(fragment: Fragment) -> int | None:
    index = fragment.get("index")
    return index if isinstance(index, int) and not isinstance(index, bool) else None


def id_of(fragment: Fragment) -> str:
    said = fragment.get("id")
    return said if isinstance(said, str) else ""


def name_of(fragment: Fragment) -> str:
    name = function_of(fragment).get("name")
    return name if isinstance(name, str) else ""


def arguments_of(fragment: Fragment) -> str:
    """As text: some providers send an object in place of its JSON. Raises UpstreamFailed for one that is too deep."""
    said = function_of(fragment).get("arguments")
    if isinstance(said, str):
        return said
    return "" if said is None else compact(said)


def function_of(fragment: Fragment) -> Fragment:
    function = fragment.get("function")
    return function if isinstance(function, dict) else {}


def is_object(text: str) -> bool:
    try:
        return isinstance(msgspec.json.decode(mended(text)), dict)
    except (msgspec.DecodeError, RecursionError):
        return False
