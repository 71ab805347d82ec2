"""Where a hub of this user is found by those who are told nothing: its usual address, and the file in which one that
runs says where it is. Whoever starts a hub and whoever looks for one mean the same by it.
"""

from collections.abc import Mapping
from pathlib import Path

DEFAULT_URL = "http://127.0.0.1:7433"
HUB_FILE = "hub.json"


def home(env: Mapping[str, str]) -> Path:
    """The user's home folder."""
    return Path(env["HOME"]) if env.get("HOME") else Path.home()


def data_dir(env: Mapping[str, str]) -> Path:
    """Where a hub of this user keeps `HUB_FILE` unless its profile names another folder.

    `OSTLER_HUB_DATA_DIR` as for the hub itself, else `ostler` in the folder for such data.
    """
    told = env.get("OSTLER_HUB_DATA_DIR")
    return Path(told).expanduser() if told else usual_data_dir(env)


def usual_data_dir(env: Mapping[str, str]) -> Path:
    """Where it is when no setting says so."""
    base = env.get("XDG_DATA_HOME")
    return (Path(base) if base else home(env) / ".local" / "share") / "ostler"
