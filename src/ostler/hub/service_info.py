"""What the hub says of itself."""

import msgspec

from ostler.hub.views import SettingRow


class HubInfo(msgspec.Struct, frozen=True, kw_only=True):
    """Replaced whole when the profile changes."""

    version: str
    profile_path: str | None
    started_ms: int
    settings: tuple[SettingRow, ...] = ()
