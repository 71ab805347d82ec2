"""Messages made to fit a number of tokens: whole exchanges go (`exchanges`), then what must stay is cut inside.

A cut text keeps its beginning and its end, with a notice between them of how much is missing. Texts are cut in the
order of what is missed least: results of tools, the oldest first; what assistants said; what the user said. A system
message is never cut, nor are calls of tools, thinking and images: when they alone are too long, `fits` is false, and
nothing that may be cut is longer than `SHORTEST` characters.

Fitting twice changes nothing. Messages are never changed in place.
"""

from collections.abc import Sequence

import msgspec

from ostler.context.exchanges import Role, left_out
from ostler.context.measure import Count
from ostler.context.messages import Message, tokens_of, turned

SHORTEST = 80
"""Characters that are left of a text that was cut as far as it may be."""
_ORDER = (Role.RESULTS, Role.ASSISTANT, Role.USER)


class Fitted(msgspec.Struct, frozen=True, kw_only=True):
    """Messages that fit, and what it took."""

    messages: tuple[Message, ...]
    dropped: int = 0
    """Messages that were left out."""
    cut: int = 0
    """Messages of which the middle was left out."""
    tokens_before: int = 0
    tokens: int = 0
    budget: int = 0

    @property
    def fits(self) -> bool:
        """False when what may neither go nor be cut is longer than the budget."""
        return self.tokens <= self.budget


def fitted(messages: Sequence[Message], budget: int, count: Count, *, window: int | None = None) -> Fitted:
    """Messages within `budget` tokens: system messages and the newest `window` others at most."""
    turns = [turned(message, count) for message in messages]
    before = sum(turn.tokens for turn in turns)
    fixed = sum(turn.tokens for turn in turns if turn.role is Role.SYSTEM)
    gone = set(left_out(turns, tokens=budget - fixed, turns_max=window))
    kept = [message for index, message in enumerate(messages) if index not in gone]
    roles = [turn.role for index, turn in enumerate(turns) if index not in gone]
    left = before - sum(turns[index].tokens for index in gone)
    cut = 0
    for role in _ORDER:
        for index, message in enumerate(kept):
            if left > budget and roles[index] is role:
                shorter = _shortened(message, left - budget, count)
                if shorter is not message:
                    left += tokens_of(shorter, count) - tokens_of(message, count)
                    kept[index] = shorter
                    cut += 1
    return Fitted(
        messages=tuple(kept), dropped=len(gone), cut=cut, tokens_before=before, tokens=left, budget=budget
    )  # fmt: skip


def _shortened(message: Message, excess: int, count: Count) -> Message:
    """The message with its texts cut until it is so many tokens shorter, or as short as it may be."""
    content = message.get("content")
    if isinstance(content, str):
        text = shortened(content, count(content) - excess, count)
        return message if text == content else {**message, "content": text}
    if not isinstance(content, Sequence) or isinstance(content, bytes):
        return message
    target = tokens_of(message, count) - excess
    for index, block in enumerate(content):
        over = tokens_of(message, count) - target
        if over > 0 and isinstance(block, dict) and block.get("type") in ("text", "tool_result"):
            name = "text" if block["type"] == "text" else "content"
            inner = _shortened({"content": block.get(name)}, over, count)
            blocks = [*content[:index], {**block, name: inner["content"]}, *content[index + 1 :]]
            if inner["content"] != block.get(name):
                message, content = {**message, "content": blocks}, blocks
    return message


def shortened(text: str, tokens: int, count: Count) -> str:
    """A text of at most so many tokens, or of `SHORTEST` characters when that is still longer: two thirds of what is
    kept are its beginning. O(log n) counts.
    """
    if count(text) <= tokens or len(text) <= SHORTEST:
        return text
    fewest, most = 0, len(text)
    while fewest < most:
        keep = (fewest + most + 1) // 2
        if count(_cut(text, keep)) <= tokens:
            fewest = keep
        else:
            most = keep - 1
    found = _cut(text, fewest)
    return found if len(found) >= SHORTEST and count(found) <= tokens else text[:SHORTEST]


def _cut(text: str, keep: int) -> str:
    head = keep * 2 // 3
    missing = len(text) - keep
    return (
        f"{text[:head]}\n[... {missing} characters left out ...]\n{text[len(text) - (keep - head) :] if keep else ''}"
    )
