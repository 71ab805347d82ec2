"""A browser of the poorest kind: it asks for pages, keeps cookies, sends forms, and runs no script."""

import http.client
import re
from collections.abc import Mapping
from html import unescape
from typing import NamedTuple
from urllib.parse import urlencode

from tests.web.recording_hub import PATIENCE_S, ServedHub


class Got(NamedTuple):
    """An answer as text."""

    status: int
    headers: Mapping[str, str]
    text: str
    cookies: tuple[str, ...] = ()

    @property
    def cookie(self) -> str:
        """How the seat was set."""
        (found,) = [line for line in self.cookies if line.startswith("ostler_seat=")]
        return found

    @property
    def words(self) -> str:
        """What a person reads: the text without its marks, blanks run together."""
        return " ".join(unescape(re.sub(r"<[^>]*>", " ", self.text)).split())


class Browser:
    """One browser at one hub."""

    def __init__(self, served: ServedHub) -> None:
        self.served = served
        self.cookies: dict[str, str] = {}

    def get(self, path: str, **headers: str) -> Got:
        """Ask for a page."""
        return self._ask("GET", path, None, headers)

    def post(self, path: str, fields: Mapping[str, str], **headers: str) -> Got:
        """Send a form."""
        sent = {"Content-Type": "application/x-www-form-urlencoded", **headers}
        return self._ask("POST", path, urlencode(fields), sent)

    def act(self, verb: str, *, sure: bool = True, **fields: str) -> Got:
        """Do a verb with the token of this browser."""
        token = {"form_token": self.form_token(), "sure": "yes" if sure else "no"}
        return self.post("/act", {**token, "verb": verb, **fields})

    def form_token(self, path: str = "/") -> str:
        """The token that the forms of a page carry."""
        found = re.search(r'name="form_token" value="([^"]+)"', self.get(path).text)
        return found[1] if found else ""

    def sign_in(self, token: str) -> Got:
        """Hand in a token."""
        return self.post("/login", {"token": token})

    def _ask(self, method: str, path: str, body: str | None, headers: Mapping[str, str]) -> Got:
        sent = {"Accept": "text/html", **{name.replace("_", "-"): value for name, value in headers.items()}}
        if self.cookies:
            sent["Cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        connection = http.client.HTTPConnection("127.0.0.1", self.served.port, timeout=PATIENCE_S)
        try:
            connection.request(method, path, body, sent)
            answer = connection.getresponse()
            cookies = tuple(answer.headers.get_all("Set-Cookie") or ())
            for line in cookies:
                name, _, value = line.partition(";")[0].partition("=")
                self.cookies[name] = value
                if not value or "Max-Age=0" in line:
                    del self.cookies[name]
            got = {name.lower(): value for name, value in answer.headers.items()}
            return Got(answer.status, got, answer.read().decode(), cookies)
        finally:
            connection.close()
