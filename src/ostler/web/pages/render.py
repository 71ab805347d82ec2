"""Templates to text. One environment, made when the first page is asked for.

Everything is escaped, a name that a template is not given is an error, and the pages hold no address that begins with
`/`: each page is told the way up to the hub's root, so that the hub works below any path of a proxy.
"""

import hashlib
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import jinja2
from markupsafe import Markup

from ostler.version import __version__
from ostler.web.pages import wording
from ostler.web.pages.assets import stamp
from ostler.web.pages.view import PLACE_OF_TOKEN, Ask, Role, View

HERE = Path(__file__).parent
TICKING = re.compile(r"(<time\b[^>]*>)[^<]*|(<progress\b[^>]*) value=\"[^\"]*\"")
"""What the page keeps moving by itself, and what therefore is no change."""


class Region(NamedTuple):
    """A part of a page that changes: its name, a hash of what it says, and its text."""

    name: str
    mark: str
    text: str


def way_up(path: str) -> str:
    """From a page to the hub's root.

    >>> way_up("/"), way_up("/tasks"), way_up("/tasks/t-1")
    ('./', './', '../')
    """
    return "../" * (path.count("/") - 1) or "./"


class Renderer:
    """Renders views."""

    def __init__(self) -> None:
        self._environment = jinja2.Environment(
            loader=jinja2.FileSystemLoader(HERE / "templates"),
            autoescape=True,
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            auto_reload=False,
        )
        filters: Mapping[str, Callable[..., object]] = {
            name: getattr(wording, name)
            for name in ("span", "money", "size", "count", "share", "instant", "clock", "day", "plural")
        }
        self._environment.filters.update(filters)
        self._environment.globals.update(STATES=wording.STATES, WAITS=wording.WAITS, version=__version__, stamp=stamp())

    def regions(self, view: View, ask: Ask) -> tuple[Region, ...]:
        """The changing parts of a page."""
        given = self._given(view, ask)
        return tuple(self._region(name, given) for name in view.regions)

    def page(self, view: View, ask: Ask, *, signed_in: bool, now_ms: int) -> str:
        """A whole page."""
        given = self._given(view, ask)
        holder = self._environment.get_template("live.html")

        def live(name: str) -> Markup:
            found = self._region(name, given)
            return Markup(holder.render(region=found._replace(text=Markup(found.text))))  # noqa: S704 - is escaped

        return self._environment.get_template(view.template).render(
            **given, live=live, view=view, signed_in=signed_in, served_ms=now_ms
        )

    def _given(self, view: View, ask: Ask) -> dict[str, object]:
        root = way_up(ask.path)
        return {
            **view.data,
            "ask": ask,
            "root": root,
            "may_act": ask.role is Role.OPERATOR,
            "form_token": Markup(PLACE_OF_TOKEN),  # noqa: S704 - ours
        }

    def _region(self, name: str, given: Mapping[str, object]) -> Region:
        text = self._environment.get_template(name).render(given)
        said = TICKING.sub(r"\1\2", text)
        short = name.removesuffix(".html").replace("/", "-")
        return Region(short, hashlib.blake2s(said.encode(), digest_size=6).hexdigest(), text)
