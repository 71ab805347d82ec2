"""Older messages become a summary: asked of a model, or extracted from them when none can be reached.

Extraction takes whole sentences and is deterministic. A sentence scores by how often its words occur in all that is
summarised, with extra for words of decisions, errors and aims, for figures and paths, and for opening a message; long
sentences gain nothing by their length. The best go in, in the order in which they were said, until the budget is full.
The summary before is summarised with the rest, so a summary never grows beyond its budget. O(n log n) in sentences.
"""

import re
from collections import Counter
from collections.abc import Sequence

import msgspec

from ostler.context.exchanges import Role, newest_exchanges
from ostler.context.fit import shortened
from ostler.context.measure import Count
from ostler.context.messages import Message, role_of, text_of, turned

SENTENCE_CHARS_MAX = 400
_SENTENCE = re.compile(r"[^.!?\n]+(?:[.!?](?!\s)[^.!?\n]*)*[.!?]*")
_WORD = re.compile(r"[^\W\d_]{3,}")
_TELLING = re.compile(
    r"\b(?:decid\w*|decision|chose\w*|must|never|always|because|error\w*|fail\w*|fix\w*|goal|objective|next|todo|"
    r"agreed|result|found|done|blocked|warning|plan\w*)\b",
    re.IGNORECASE,
)
_CONCRETE = re.compile(r"\d|/\w|\w\.\w{1,4}\b|`")
_COMMON = frozenset(
    "the and for that this with you are was have not but has had from they will would can could should into its "  # noqa: SIM905 -- a table of words reads best as words
    "our your his her their there then than when what which who been were did does just about also any all some "
    "one out get let now".split()
)


def is_due(tick: int, interval: int) -> bool:
    """At ticks `interval`, 2 x `interval`, ...; an interval of 0 is never due."""
    return tick > 0 and interval > 0 and tick % interval == 0


class Split(msgspec.Struct, frozen=True, kw_only=True):
    """A talk in two: what is to be summarised, and what stays word for word. System messages stay."""

    older: tuple[Message, ...]
    kept: tuple[Message, ...]


def split(messages: Sequence[Message], keep: int) -> Split:
    """Whole exchanges that together have at most `keep` messages stay, and the newest one in any case."""
    turns = [turned(message, len) for message in messages]
    begin = newest_exchanges(turns, keep)
    older = tuple(
        message for message, turn in zip(messages[:begin], turns, strict=False) if turn.role is not Role.SYSTEM
    )
    kept = tuple(
        message
        for index, (message, turn) in enumerate(zip(messages, turns, strict=True))
        if index >= begin or turn.role is Role.SYSTEM
    )
    return Split(older=older, kept=kept)


def transcript(messages: Sequence[Message]) -> str:
    """What was said, one paragraph for each message, with who said it."""
    said = [(_SPEAKER[role_of(message)], text_of(message).strip()) for message in messages]
    return "\n\n".join(f"{speaker}: {text}" for speaker, text in said if text)


_SPEAKER = {Role.USER: "User", Role.ASSISTANT: "Assistant", Role.RESULTS: "Tool", Role.SYSTEM: "System"}


def instruction(messages: Sequence[Message], previous: str, tokens: int, *, room: int, count: Count) -> str:
    """What a model is asked so that it summarises: in at most `tokens` tokens, of a transcript cut to `room` tokens."""
    words = tokens * 3 // 4
    before = f"Summary of what was said before that:\n{previous}\n\n" if previous else ""
    return (
        f"Summarize the conversation below in at most {words} words, for whoever has to go on with it. Keep aims,"
        " decisions with their reasons, errors and what became of them, names, paths and figures. Leave out greetings"
        " and what was taken back. Answer with the summary alone.\n\n"
        f"{before}Conversation:\n{shortened(transcript(messages), room, count)}"
    )


def extracted(messages: Sequence[Message], previous: str, tokens: int, count: Count) -> str:
    """The most telling sentences, in their order, in at most `tokens` tokens."""
    sentences = [(text, True) for text in previous.splitlines() if text.strip()]
    for message in messages:
        found = [match.group().strip() for match in _SENTENCE.finditer(text_of(message))]
        sentences += [(text[:SENTENCE_CHARS_MAX], not place) for place, text in enumerate(filter(None, found))]
    unique = list(dict(reversed(sentences)).items())[::-1]  # of what was said twice, the later place
    frequency = Counter(word for text, _ in unique for word in _words(text))
    ranked = sorted(range(len(unique)), key=lambda place: (-_score(*unique[place], frequency), -place))
    chosen: set[int] = set()
    left = tokens
    for place in ranked:
        needed = count(unique[place][0] + "\n")
        if needed <= left:
            chosen.add(place)
            left -= needed
    return "\n".join(unique[place][0] for place in sorted(chosen))


def _words(text: str) -> set[str]:
    return {word for word in map(str.lower, _WORD.findall(text)) if word not in _COMMON}


def _score(text: str, opens: bool, frequency: Counter[str]) -> float:  # noqa: FBT001 -- a field of the sentence
    words = _words(text)
    common = sum(frequency[word] for word in words) / (len(words) + 3)
    return common * (1 + bool(_TELLING.search(text)) + 0.5 * bool(_CONCRETE.search(text)) + 0.25 * opens)
