"""What an agent asks of its loop: lines of its answer that begin with `LOOP:`.

    LOOP: continue              another step of this tick, if it has one left
    LOOP: end                   end this loop now; the next one comes when it is due
    LOOP: stop [why]            end the whole schedule
    LOOP: objective TEXT        keep an aim          LOOP: reached TEXT    drop it
    LOOP: decision TEXT         keep a decision      LOOP: error TEXT      keep an error

Case and leading spaces do not matter; whatever else is said after `LOOP:` is ignored. O(length of the answer).
"""

import hashlib
import re

import msgspec

from ostler.domain.working_set import WorkingState

_LINE = re.compile(r"^[ \t>*`-]*LOOP:[ \t]*(\w+)[ \t]*(.*?)[ \t`*]*$", re.IGNORECASE | re.MULTILINE)
_KEPT = {"objective": "objectives", "decision": "decisions", "error": "errors"}
_SPACE = re.compile(r"\s+")


class Wishes(msgspec.Struct, frozen=True, kw_only=True):
    """What was asked, in the order in which it was said."""

    go_on: bool = False
    end: bool = False
    stop: bool = False
    why: str = ""
    kept: tuple[tuple[str, str], ...] = ()
    """(list, text): entries for the working set."""
    reached: tuple[str, ...] = ()

    def applied(self, working: WorkingState) -> WorkingState:
        """The working set with what was asked of it."""
        for kind, text in self.kept:
            working = working.added(kind, text)
        for text in self.reached:
            working = working.removed("objectives", text)
        return working


def wishes(answer: str) -> Wishes:
    """Read an answer."""
    said = [(match.group(1).lower(), match.group(2)) for match in _LINE.finditer(answer)]
    words = {word for word, _ in said}
    return Wishes(
        go_on="continue" in words,
        end="end" in words,
        stop="stop" in words,
        why=next((text for word, text in said if word == "stop"), ""),
        kept=tuple((_KEPT[word], text) for word, text in said if word in _KEPT and text),
        reached=tuple(text for word, text in said if word == "reached" and text),
    )


def fingerprint(answer: str) -> str:
    """Equal for answers that differ in nothing but white space and case."""
    normal = _SPACE.sub(" ", answer).strip().lower()
    return hashlib.sha256(normal.encode(errors="surrogatepass")).hexdigest()[:16]
