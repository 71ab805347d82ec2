"""Words the classifier looks for: data without rules. A profile may bring tables of its own.

An entry is a word or a phrase in its base form; its regular inflections are found with it (`phrases.inflections`).
`|` separates other spellings and derived words that count as the same entry: they are listed because no rule of
inflection makes them ("migration" of "migrate"), and what is not listed is not found ("functional" is not "function").
"""

import msgspec


class TypeWords(msgspec.Struct, frozen=True, kw_only=True):
    """One kind of work. `floor` orders kinds, 0 = the undemanding ones, for ties the policy's minimums leave open."""

    name: str
    floor: int
    words: tuple[str, ...]


class Keywords(msgspec.Struct, frozen=True, kw_only=True):
    """All tables. Hashable: tuples only."""

    complex: tuple[str, ...]
    """Words of hard work: one is enough."""
    trivial: tuple[str, ...]
    """Words of work that needs no thought; without one of them nothing is called trivial, however short it is."""
    types: tuple[TypeWords, ...]
    default_type: str


KEYWORDS = Keywords(
    complex=(
        "refactor",
        "architect|architecture|architectural",
        "migrate|migration",
        "redesign",
        "security",
        "overhaul",
        "rewrite|rewrote|rewritten",
    ),
    trivial=(
        "typo",
        "rename",
        "format",
        "lint",
        "version bump|bump version|bump the version",
        "readme update|update readme|update the readme",
    ),
    types=(
        TypeWords(name="memory_ops", floor=0, words=("remember", "recall", "memory", "vault")),
        TypeWords(name="reflection", floor=0, words=("reflect|reflection", "introspect|introspection", "journal")),
        TypeWords(name="summarization", floor=0, words=("summarize|summarise", "recap", "tldr|tl dr")),
        TypeWords(name="planning", floor=1, words=("plan", "strategy", "architecture")),
        TypeWords(name="coding", floor=2, words=("code", "debug", "function", "refactor")),
        TypeWords(name="high_stakes", floor=2, words=("critical", "production", "deploy|deployment")),
        TypeWords(name="final_polish", floor=3, words=("final review", "ship it", "release")),
    ),
    default_type="general",
)
