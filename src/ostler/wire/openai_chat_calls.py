"""Which call a streamed delta of a tool call belongs to. Pure.

The format says: by `index`, with id and name in the first delta only. Servers differ: no index, the same index for
every call, id or name repeated in each delta, a fresh id in each delta, whole calls in one delta, no id at all. In this
order:

1. an id that was seen belongs to its call, whatever the index;
2. a delta without a name belongs to the call of its index, else to the last call;
3. a delta with a name begins a call, unless it repeats the name of the call at its index (or of the last call, where
   it has neither index nor id) whose arguments are no whole JSON yet.
"""

from collections.abc import Iterator

import msgspec

from ostler.wire.openai_chat_answer import Call, Function, arguments_text, made_up_id
from ostler.wire.talk import Piece, ToolPiece, ToolStarted


class _Open:
    __slots__ = ("arguments", "index", "name")

    def __init__(self, index: int, name: str) -> None:
        self.index = index
        self.name = name
        self.arguments: list[str] = []

    def is_whole(self) -> bool:
        """Whether its arguments are complete; decoded only where they end like an object, as most never do."""
        if not self.arguments or not self.arguments[-1].rstrip().endswith("}"):
            return False
        try:
            msgspec.json.decode("".join(self.arguments))
        except (ValueError, RecursionError):
            return False
        return True


class Calls:
    """The calls of one streamed answer."""

    def __init__(self) -> None:
        self._calls: list[_Open] = []
        self._by_id: dict[str, _Open] = {}
        self._by_index: dict[int, _Open] = {}

    def __bool__(self) -> bool:
        return bool(self._calls)

    def pieces(self, delta: Call, answer_id: str) -> Iterator[Piece]:
        """What a delta adds."""
        function = delta.function or Function()
        name, arguments = function.name or "", arguments_text(function.arguments)
        call = self._belongs(delta, name)
        if call is None:
            call = _Open(len(self._calls), name)
            self._calls.append(call)
            yield ToolStarted(index=call.index, id=delta.id or made_up_id(answer_id, call.index), name=name)
        if delta.id:
            self._by_id[delta.id] = call
        if delta.index is not None:
            self._by_index[delta.index] = call
        if arguments:
            call.arguments.append(arguments)
            yield ToolPiece(index=call.index, arguments=arguments)

    def _belongs(self, delta: Call, name: str) -> _Open | None:
        if delta.id and (known := self._by_id.get(delta.id)):
            return known
        last = self._calls[-1] if self._calls else None
        at_index = last if delta.index is None else self._by_index.get(delta.index)
        if not name:
            return at_index or last
        if at_index is None or at_index.name != name or (delta.index is None and delta.id):
            return None
        return None if at_index.is_whole() else at_index
