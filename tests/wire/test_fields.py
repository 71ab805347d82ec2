"""Fields of a client's JSON, its data URLs and its model's name: each mistake is told with its place."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ostler.domain.errors import InvalidInputError
from ostler.wire.codec import Format
from ostler.wire.fields import INT_MAX, Fields, short, typed
from ostler.wire.formats import codec
from ostler.wire.media import PLAIN, document, document_url, from_data_url
from ostler.wire.rename import renamed
from ostler.wire.talk import Document

TOP = Fields.read(
    b'{"text":"a","empty":"","none":null,"whole":3.0,"half":2.5,"yes":true,"object":{"inner":{"x":1}},'
    b'"list":[{"a":1},{"b":2}],"mixed":[{"a":1},5],"words":["x","y"],"huge":99999999999999999999}'
)


def test_absence_and_null_are_the_same() -> None:
    """Official clients send both for what was not said."""
    for name in ("none", "absent"):
        assert not TOP.has(name)
        assert TOP.text(name) == ""
        assert (TOP.number(name), TOP.integer(name), TOP.flag(name), TOP.json(name)) == (None, None, None, None)
        assert list(TOP.objects(name)) == []
        assert TOP.texts(name) == ()
        assert TOP.choice(name, ("a",), "a") == "a"


def test_fields_are_read_as_what_they_are() -> None:
    """Whole floats are integers; one text is a list of one."""
    assert (TOP.text("text"), TOP.integer("whole"), TOP.number("half"), TOP.flag("yes")) == ("a", 3, 2.5, True)
    assert TOP.needed("object").needed("inner").integer("x") == 1
    assert [item.where for item in TOP.objects("list")] == ["list[0]", "list[1]"]
    assert (TOP.texts("text"), TOP.texts("words")) == (("a",), ("x", "y"))
    assert TOP.rest({"text", "object"}).keys() & {"text", "none", "object"} == set()


@pytest.mark.parametrize(
    ("read", "where", "says"),
    [
        (lambda: TOP.text("whole"), "whole", "must be a string, not a number"),
        (lambda: TOP.text("absent", None), "absent", "is missing"),
        (lambda: TOP.named("empty", "give one"), "empty", "is empty (give one)"),
        (lambda: TOP.named("list"), "list", "must be a string, not a list"),
        (lambda: TOP.number("yes"), "yes", "must be a number, not a boolean"),
        (lambda: TOP.integer("half"), "half", "must be an integer"),
        (lambda: TOP.integer("huge"), "huge", "out of range"),
        (lambda: TOP.flag("object"), "object", "must be true or false, not an object"),
        (lambda: TOP.needed("absent"), "absent", "is missing"),
        (lambda: TOP.needed("object").text("inner"), "object.inner", "must be a string, not an object"),
        (lambda: list(TOP.objects("mixed")), "mixed[1]", "must be an object, not a number"),
        (lambda: list(TOP.objects("text")), "text", "a list of objects"),
        (lambda: TOP.texts("mixed"), "mixed", "a string or a list of strings"),
        (lambda: TOP.choice("text", ("ab", "cd")), "text", "did you mean 'ab'"),
        (lambda: TOP.choice("absent", ("ab", "cd")), "absent", "valid: ab, cd"),
        (lambda: TOP.choice("yes", ("ab",)), "yes", "must be a string"),
    ],
)
def test_what_does_not_fit_is_told(read: object, where: str, says: str) -> None:
    """What it is, what it must be, and where."""
    assert callable(read)
    with pytest.raises(InvalidInputError) as caught:
        read()

    assert caught.value.where == where
    assert says in str(caught.value)


@given(value=st.integers() | st.floats(allow_nan=False, allow_infinity=False))
def test_numbers_are_bounded(value: float) -> None:
    """No number is so large that a server might not be able to read it."""
    fields = Fields({"n": value})
    if abs(value) <= INT_MAX:
        assert fields.number("n") == value
    else:
        with pytest.raises(InvalidInputError):
            fields.number("n")


def test_foreign_words_are_cut_in_messages() -> None:
    """A megabyte in the place of a word does not fill the screen."""
    assert short("x" * 100) == "'" + "x" * 60 + "...'"


@pytest.mark.parametrize(
    ("url", "found"),
    [
        ("data:image/png;base64,aGk=", ("image/png", "aGk=")),
        ("data:IMAGE/PNG;name=a;BASE64,aGk=", ("image/png", "aGk=")),
        ("data:;base64,aGk=", ("image/jpeg", "aGk=")),
    ],
)
def test_data_urls_are_taken_apart(url: str, found: tuple[str, str]) -> None:
    """Media type in lower case, without parameters; the given one where there is none."""
    assert from_data_url(url, "where", "image/jpeg") == found


@pytest.mark.parametrize("url", ["data:", "data:text/plain,hi", "data:;base64", "data:" + "a" * 300 + ";base64,aGk="])
def test_what_is_no_base64_url_is_refused(url: str) -> None:
    """With an example of what is one."""
    with pytest.raises(InvalidInputError, match="data:image/png;base64"):
        from_data_url(url, "where", "image/jpeg")


@given(text=st.text(max_size=20), name=st.text(max_size=3))
def test_a_document_of_text_survives_its_url(text: str, name: str) -> None:
    """Text is text in the shared form, and base64 on the wire."""
    part = Document(media_type=PLAIN, data=text, name=name)

    assert document(document_url(part), "where", name=name, cache=None) == part


def test_bare_base64_is_a_pdf() -> None:
    """As the official examples once sent it."""
    assert document("JVBE", "where", name="", cache=None) == Document(media_type="application/pdf", data="JVBE")
    with pytest.raises(InvalidInputError, match="no base64 of text"):
        document("data:text/plain;base64,%%", "where", name="", cache=None)


def test_a_name_is_replaced_where_there_is_none_yet() -> None:
    """The slow way takes the top level apart: other values stay as the bytes they are."""
    assert renamed(b'{"a": 1.50, "b": {"model": "x", "c": "model"}}', "m") == (
        b'{"a":1.50,"b":{"model": "x", "c": "model"},"model":"m"}'
    )


@pytest.mark.parametrize("form", [Format.OPENAI_CHAT, Format.OPENAI_RESPONSES, Format.ANTHROPIC])
def test_every_format_has_its_codec(form: Format) -> None:
    """The registry gives the codec that says it is of that format, always the same one."""
    assert codec(form).format is form
    assert codec(form) is codec(form)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b'{"a": "x"}', "expected a whole number, got a text"),
        (b'{"a": [1]}', "expected a whole number, got a list"),
        (b'{"a": 1.5}', "expected a whole number, got a number"),
        (b"[]", "expected an object, got a list"),
    ],
)
def test_types_are_told_as_people_name_them(body: bytes, said: str) -> None:
    """No name of a programming language is in a message."""

    class Shape(msgspec.Struct):
        a: int | None = None

    with pytest.raises(InvalidInputError) as caught:
        typed(msgspec.json.Decoder(Shape), body)
    assert caught.value.what == said
