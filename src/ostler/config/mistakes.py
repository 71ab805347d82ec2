"""The mistakes of one profile, each with its place, and what they leave unknown.

One slip must not be told in several ways. A mistake below a setting makes that part *damaged*: a rule that would only
repeat it in other words asks `is_damaged` first. What could not be *read* (an unknown key, a value of the wrong type)
may have held the definition of a name: a rule about unknown names asks `may_lack` first.
"""

from collections.abc import Iterable, Mapping

from ostler.config.nodes import Located, Place
from ostler.domain.errors import Problem

SettingPath = tuple[str, ...]

DEFINING_KEYS = frozenset({"aliases", "model", "models", "provider"})
"""Keys inside an entry of a section that bring names into being."""


def dotted(path: SettingPath) -> str:
    """A setting as people name it.

    >>> dotted(("hub", "port"))
    'hub.port'
    """
    return ".".join(path)


class Mistakes:
    """Collects problems; knows where each setting is written."""

    def __init__(self, places: Mapping[SettingPath, Place], source: str) -> None:
        self._places = places
        self._source = source
        self._found: list[Located] = []
        self._damaged: set[SettingPath] = set()
        self._unread: set[SettingPath] = set()
        self._unknown: set[SettingPath] = set()

    def add(self, path: SettingPath, what: str, remedy: str, *, place: Place | None = None) -> None:
        """Report a mistake in the setting at `path`; its place is the nearest written setting above it."""
        place = place or self.place_of(path)
        where = f"{place} {dotted(path)}" if path else str(place)
        self._found.append((place, Problem(what, where=where, remedy=remedy)))
        self._damaged.update(path[:length] for length in range(len(path) + 1))

    def add_unread(self, path: SettingPath, what: str, remedy: str, *, place: Place) -> None:
        """Report a setting whose value was left out."""
        self._unread.add(path)
        self.add(path, what, remedy, place=place)

    def add_unknown(self, path: SettingPath, remedy: str, *, place: Place) -> None:
        """Report a key that no setting has."""
        self._unknown.add(path)
        self.add(path, f"unknown setting '{path[-1]}'", remedy, place=place)

    def include(self, found: Iterable[Located]) -> None:
        """Take over problems that were found elsewhere."""
        self._found.extend(found)

    def place_of(self, path: SettingPath) -> Place:
        """Where the setting, or else the nearest one around it, is written."""
        for length in range(len(path), 0, -1):
            place = self._places.get(path[:length])
            if place is not None:
                return place
        return Place(self._source)

    def is_damaged(self, *paths: SettingPath) -> bool:
        """Whether a mistake was found in or below any of these settings."""
        return any(path in self._damaged for path in paths)

    def may_lack(self, *sections: SettingPath) -> bool:
        """Whether any of these sections of named entries may lack a name because something in it was not read."""
        return any(self._may_lack(section) for section in sections) or ("extends",) in self._unread

    def _may_lack(self, section: SettingPath) -> bool:
        depth = len(section)
        # An unknown name may be meant for the section, or for one that it is in.
        for path in self._unknown:
            if path[:depth] == section or (len(path) <= depth and path[:-1] == section[: len(path) - 1]):
                return True
        return any(
            path[:depth] == section and (len(path) <= depth + 1 or path[depth + 1] in DEFINING_KEYS)
            for path in self._unread
        )

    @property
    def problems(self) -> tuple[Problem, ...]:
        """All of them, in the order of the file."""
        return tuple(problem for _, problem in sorted(self._found, key=lambda pair: pair[0].line or 0))
