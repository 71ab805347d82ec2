"""Exact token counts from a tokenizer file (`tokenizer.json`): needs the extra `tokens`. Nothing is fetched."""

from collections.abc import Callable, Mapping
from pathlib import Path

from ostler.context.measure import Count, TokenRates
from ostler.domain.errors import InvalidInputError

REMEDY = "pip install 'ostler[tokens]', or leave it out: then lengths are measured from what endpoints report"


def exact_count(path: str | Path) -> Count:
    """A function that counts the tokens of a text as the model of this file does. Raises `InvalidInputError`."""
    try:
        from tokenizers import Tokenizer
    except ImportError:
        raise InvalidInputError("no tokenizer is installed", where=str(path), remedy=REMEDY) from None
    if not Path(path).is_file():
        raise InvalidInputError("there is no such file", where=str(path), remedy="name a tokenizer.json of the model")
    try:
        encode: Callable[..., object] = Tokenizer.from_file(str(path)).encode
    except Exception as error:  # boundary: the package raises bare exceptions for files that it cannot read
        raise InvalidInputError(f"no tokenizer: {error}", where=str(path), remedy="is it a tokenizer.json?") from None

    def count(text: str) -> int:
        return len(encode(text, add_special_tokens=False).ids)  # type: ignore[attr-defined]

    return count


def exact_rates(files: Mapping[str, str | Path]) -> TokenRates:
    """Rates that count exactly for the models that a tokenizer file is named for, and measure the others."""
    return TokenRates(exact={model: exact_count(path) for model, path in files.items()})
