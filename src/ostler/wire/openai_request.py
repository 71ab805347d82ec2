"""What the writers of OpenAI's two request formats share. Pure."""

from collections.abc import Iterable

from ostler.wire.talk import Ask, Effort, Json

NO_PARAMETERS: Json = {"type": "object", "properties": {}}
"""Schema of a function without parameters: an empty one is refused by some servers."""

_LOW_BUDGET = 2_048
_MEDIUM_BUDGET = 8_192
"""Up to these many tokens of thinking, an effort is called low and medium."""


class RequestWriter:
    """Remembers what a request could not say, each thing once, in the order in which it was met."""

    def __init__(self, dropped: Iterable[str]) -> None:
        self.dropped: dict[str, None] = dict.fromkeys(dropped)

    def drop(self, name: str, when: object) -> None:
        """A thing is left out, if there was one."""
        if when:
            self.dropped[name] = None

    def drop_engine_fields(self, ask: Ask) -> None:
        """What only engines of one's own understand."""
        self.drop("context_tokens", ask.context_tokens is not None)
        self.drop("keep_alive", ask.keep_alive is not None)
        self.drop("raw_prompt", ask.raw_prompt)
        self.drop("suffix", ask.suffix)

    def effort(self, effort: Effort | None) -> str | None:
        """A level for an effort. A budget in tokens becomes the level it comes near to, and is named as dropped."""
        if effort is None:
            return None
        if not effort.enabled:
            return "none"
        self.drop("effort.budget_tokens", effort.budget_tokens is not None)
        self.drop("effort.adaptive", effort.adaptive)
        if effort.level or effort.budget_tokens is None:
            return effort.level or None
        if effort.budget_tokens <= _LOW_BUDGET:
            return "low"
        return "medium" if effort.budget_tokens <= _MEDIUM_BUDGET else "high"
