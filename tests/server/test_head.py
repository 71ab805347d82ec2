"""Heads of answers: nothing that came from outside makes a header of its own."""

from email.utils import parsedate_to_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ostler.server.head import DateLine, header_lines, status_line


@given(st.lists(st.tuples(st.sampled_from(["x-a", "x-b"]), st.text(max_size=20)), max_size=6))
def test_there_are_as_many_lines_as_headers(headers: list[tuple[str, str]]) -> None:
    """Whatever stands in a value: no line break, no zero byte, nothing that is not one byte to a character."""
    lines = header_lines(headers)

    assert lines.count(b"\r\n") == lines.count(b"\r") == lines.count(b"\n") == len(headers)
    assert b"\0" not in lines
    assert [line.partition(b": ")[0].decode() for line in lines.split(b"\r\n")[:-1]] == [name for name, _ in headers]


def test_a_usual_value_is_left_as_it_is() -> None:
    """Latin-1 is sent as it is; what is beyond it is told apart by a question mark."""
    assert header_lines([("x", "Zürich, 5 €")]) == "x: Zürich, 5 ?\r\n".encode("latin-1")


@pytest.mark.parametrize(("status", "line"), [(200, b"200 OK"), (404, b"404 Not Found"), (599, b"599 ")])
def test_a_status_has_its_phrase(status: int, line: bytes) -> None:
    """One that nobody knows has none."""
    assert status_line(status) == b"HTTP/1.1 " + line + b"\r\n"


def test_the_date_is_the_one_of_mail() -> None:
    """Asked for twice in a second it is the same line."""
    date = DateLine()
    line = date().decode()

    assert line.startswith("date: ")
    assert line.endswith("GMT\r\n")
    assert parsedate_to_datetime(line.removeprefix("date: ").strip()).year > 2024
    assert abs(len(date()) - len(line)) <= 1


def test_no_headers_are_no_lines() -> None:
    """An empty line would end the head."""
    assert header_lines([]) == b""
