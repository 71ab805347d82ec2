r"""Finding keywords in text: whole words and phrases in their regular inflections, never parts of words.

Text is lower-cased and cut into words at everything that is no letter or digit, so that `version-bump` is the phrase
"version bump". Names of files and addresses are left out before: `plan.py` is no plan. A text is cut into words once;
searching it then costs the size of the table, and for phrases one scan for their first word.

A word of fewer than four letters has no inflections here: "its" must not be found for the "it" of "ship it".
"""

import re
from collections.abc import Iterable, Mapping

import msgspec

MIN_INFLECTED = 4
_VOWELS = "aeiou"
_WORD = re.compile(r"[^\W_]+")
_FILE_NAME = re.compile(r"[\w./\\~@+-]*[\w-]\.[A-Za-z][A-Za-z0-9]{0,4}")
_AROUND = "\"'`()[]{}<>,;:!?."

Form = frozenset[str]


class Index(msgspec.Struct, frozen=True):
    """Keywords prepared for `find`."""

    keywords: tuple[str, ...]
    starts: Mapping[str, tuple[tuple[tuple[Form, ...], str], ...]]
    """First word in any of its forms -> (forms of the words that must follow, the keyword) for each phrase."""


class Words(msgspec.Struct, frozen=True):
    """The words of a text, in order and as a set."""

    ordered: tuple[str, ...]
    distinct: frozenset[str]


def inflections(word: str) -> Form:
    """The word and its regular forms: plural or third person, past, progressive.

    >>> sorted(inflections("plan")), sorted(inflections("strategy"))
    (['plan', 'planned', 'planning', 'plans'], ['strategied', 'strategies', 'strategy', 'strategying'])
    """
    if len(word) < MIN_INFLECTED:
        return frozenset({word})
    if word[-1] == "e":
        return frozenset({word, f"{word}s", f"{word}d", f"{word[:-1]}ing"})
    if word[-1] == "y" and word[-2] not in _VOWELS:
        return frozenset({word, f"{word[:-1]}ies", f"{word[:-1]}ied", f"{word}ing"})
    plural = f"{word}es" if word.endswith(("s", "x", "z", "ch", "sh")) else f"{word}s"
    return frozenset({word, plural} | {stem + ending for stem in _stems(word) for ending in ("ed", "ing")})


def _stems(word: str) -> tuple[str, ...]:
    """What "-ed" and "-ing" are put to. The last consonant doubles after a single short vowel: always in a word of one
    syllable (planned, not planed), by stress in longer ones, where both are accepted (formatted, refactored).
    """
    doubles = word[-1] not in _VOWELS + "wxy" and word[-2] in _VOWELS and word[-3] not in _VOWELS
    if not doubles:
        return (word,)
    syllables = len(re.findall(f"[{_VOWELS}]+", word))
    return (word + word[-1],) if syllables == 1 else (word, word + word[-1])


def index(entries: Iterable[str]) -> Index:
    """Prepare keyword entries (`base|other spelling|...`) for `find`; the base form names the entry."""
    starts: dict[str, tuple[tuple[tuple[Form, ...], str], ...]] = {}
    keywords: dict[str, None] = {}
    for entry in entries:
        keyword = entry.split("|", maxsplit=1)[0]
        keywords[keyword] = None
        for spelling in entry.split("|"):
            first, *rest = (inflections(word) for word in _WORD.findall(spelling.lower()))
            for form in first:
                starts[form] = (*starts.get(form, ()), (tuple(rest), keyword))
    return Index(tuple(keywords), starts)


def words(text: str) -> Words:
    """The words of a text in lower case, without file names and addresses.

    >>> words("Re-plan the API in src/plan.py, see https://code.example/x.").ordered
    ('re', 'plan', 'the', 'api', 'in', 'see')
    """
    chunks = text.lower().split()
    prose = [chunk for chunk in chunks if not ("." in chunk or "/" in chunk) or not _is_name(chunk)]
    ordered = tuple(_WORD.findall(" ".join(prose)))
    return Words(ordered, frozenset(ordered))


def _is_name(chunk: str) -> bool:
    """Whether a piece of text names a file or an address; "read/write" and "and/or" do not."""
    bare = chunk.strip(_AROUND)
    if "://" in chunk or chunk.startswith(("/", "./", "../", "~/")) or bare.endswith("/"):
        return True
    return _FILE_NAME.fullmatch(bare) is not None


def find(text: Words, table: Index) -> tuple[str, ...]:
    """Keywords of the table that occur in the text, each once, in the order of the table."""
    hits: set[str] = set()
    for word in table.starts.keys() & text.distinct:
        for rest, keyword in table.starts[word]:
            if not rest or (keyword not in hits and _follows(text.ordered, word, rest)):
                hits.add(keyword)
    return tuple(keyword for keyword in table.keywords if keyword in hits)


def _follows(ordered: tuple[str, ...], first: str, rest: tuple[Form, ...]) -> bool:
    """Whether the first word is followed, somewhere, by words of these forms."""
    place = -1
    try:
        while True:
            place = ordered.index(first, place + 1)
            following = ordered[place + 1 : place + 1 + len(rest)]
            if len(following) == len(rest) and all(map(_is_form, following, rest)):
                return True
    except ValueError:
        return False


def _is_form(word: str, forms: Form) -> bool:
    return word in forms
