"""A profile on its way from file to policy: what was written, where, and what was concluded from what."""

from ostler.config.mistakes import Mistakes, SettingPath
from ostler.config.nodes import Place
from ostler.config.schema import ProfileFile


class Draft:
    """The decoded file with the mistakes found so far and the origins of settings that were filled in."""

    def __init__(self, file: ProfileFile, mistakes: Mistakes, places: dict[SettingPath, Place]) -> None:
        self.file = file
        self.mistakes = mistakes
        self._places = places
        self._notes: dict[SettingPath, str] = {}
        self._overruled: dict[SettingPath, str] = {}

    def is_written(self, *path: str) -> bool:
        """Whether some layer of the profile says this setting."""
        return path in self._places

    def note(self, path: SettingPath, origin: str) -> None:
        """Say where a setting that nobody wrote comes from. The first word on it stands."""
        self._notes.setdefault(path, origin)

    def note_as(self, path: SettingPath, source: SettingPath, otherwise: str = "default") -> None:
        """Say that a setting comes from another one, or from `otherwise` when that was not written either."""
        self.note(path, self.origin(source, otherwise))

    def overrule(self, path: SettingPath, origin: str) -> None:
        """Say that a setting has its value from elsewhere, whatever is written."""
        self._overruled[path] = origin

    def origin(self, path: SettingPath, otherwise: str = "default") -> str:
        """Where the value of a setting comes from: the place it is written, or what it was concluded from."""
        if path in self._overruled:
            return self._overruled[path]
        if path in self._places:
            return str(self._places[path])
        return self._notes.get(path, otherwise)
