"""The signature of an error: what stays the same when the same thing goes wrong again.

Numbers, hexadecimal ids, addresses, paths and quoted text change from one try to the next; they become placeholders.
The whole message counts, not its beginning: a long one keeps a readable head and a digest of all of it.
`signature` is idempotent, so that a stored signature may be given back as an error.
"""

import hashlib
import re

LONGEST = 240
"""Characters of a signature that is kept as text; a longer one is cut and completed by a digest."""
HEAD = 200

_PASSES = 8
# Order matters: white space separates, quotes and addresses hold paths, paths hold numbers. A pattern starts only where
# nothing of its kind stands before, so that a long run without the decisive mark is read once, not from each character.
_RULES = tuple(
    (re.compile(pattern), placeholder)
    for pattern, placeholder in (
        (r"\s+", " "),
        (r'"[^"]{0,400}"' + r"|`[^`]{0,400}`|(?<!\w)'[^']{0,400}'(?!\w)", "<text>"),
        (r"(?<![a-z0-9+.-])[a-z][a-z0-9+.-]*://[^\s<>\"']+", "<address>"),
        (r"(?<![\w.+-])[\w.+-]+@[\w-]+\.[\w.-]+", "<address>"),
        (r"(?<![\w.~@+<-])(?:[a-z]:)?(?:[\w.~@+-]*[/\\])+[\w.~@+-]*", "<path>"),
        (r"\b(?:0x[0-9a-f]+|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|(?=[0-9a-f]*[0-9])[0-9a-f]{6,})\b", "<hex>"),
        (r"\d+(?:[.,:]\d+)*", "<n>"),
    )
)
_LETTERS = str.maketrans("0123456789", "ghijklmnop")


def signature(message: str) -> str:
    """The normalised form of an error message; equal for two messages that differ only in passing details.

    >>> signature('File "/tmp/run-17/a.py", line 3: no route to 10.0.0.7:11434 after 5.2 s')
    'file <text>, line <n>: no route to <n> after <n> s'
    """
    text = _settled(message.lower())
    if len(text) <= LONGEST:
        return text
    # Letters only: a digest with digits would be taken for a number when the signature is normalised again.
    digest = hashlib.sha256(text.encode(errors="replace")).hexdigest()[:16].translate(_LETTERS)
    return f"{_settled(text[:HEAD])} ... {digest}"


def _settled(text: str) -> str:
    """Apply the rules until they change nothing: one replacement can complete another one's pattern."""
    for _ in range(_PASSES):
        before = text
        for pattern, placeholder in _RULES:
            text = pattern.sub(placeholder, text)
        text = text.strip()
        if text == before:
            break
    return text
