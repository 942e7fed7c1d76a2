"""An openai_chat provider's tool calls for an openai_chat caller, as the protocol has them. Pure.

OpenAI's own SDK helpers join what is repeated (`call_acall_a`, `bashbash`), lose a call whose index is missing, and
refuse one without a type.
"""

from typing import Any

from services.router.convert.answers.calls import Call, Calls, Fragment, arguments_of, id_of, index_of


class CallTidy:
    """The calls of one choice of one stream."""

    def __init__(self) -> None:
        self._calls = Calls()
        self._numbers: dict[int, int] = {}

    def tidy(self, tool_calls: list[Any]) -> list[Any] | None:
        """One delta's fragments with `index` always, with id, type and name once a call; None: they are so already.
        What is no fragment stays what it is. Raises UpstreamFailed for arguments that are nested too deeply."""
        tidied = [self._tidied(fragment) if isinstance(fragment, dict) else fragment for fragment in tool_calls]
        return None if all(new is old for new, old in zip(tidied, tool_calls, strict=True)) else tidied

    def _tidied(self, fragment: Fragment) -> Fragment:
        call = self._calls.of(fragment)
        begins = call.order not in self._numbers
        number = self._number(call)
        had_id, had_name = call.id, call.name
        function = _function(fragment, call.hear(fragment), names=call.name != had_name)
        tidied = {**fragment, "index": number}
        if had_id and id_of(fragment):
            del tidied["id"]
        if begins:
            tidied.setdefault("type", "function")
        else:
            tidied.pop("type", None)
        if "function" in fragment:
            tidied["function"] = function
        return fragment if tidied == fragment and index_of(fragment) == number else tidied

    def _number(self, call: Call) -> int:
        """The provider's own index, or the next one where there is none or another call has it."""
        if call.order not in self._numbers:
            taken = self._numbers.values()
            free = call.index is not None and call.index not in taken
            self._numbers[call.order] = call.index if free and call.index is not None else max(taken, default=-1) + 1
        return self._numbers[call.order]


def _function(fragment: Fragment, arguments: str, *, names: bool) -> Any:
    """What is new of its arguments, and its name if it ``names`` the call."""
    function = fragment.get("function")
    if not isinstance(function, dict):
        return function
    tidied = dict(function)
    if not names:
        tidied.pop("name", None)
    if arguments_of(fragment):
        tidied["arguments"] = arguments
    return tidied
