"""How many files and connections this process may have open: raised at the start, as servers do.

A live call holds two descriptors, its client's connection and its endpoint's. The usual soft limit of 1024 is there for
old programs that cannot count further; it would end a hub's service at about five hundred calls, although the hard
limit, which is the one that an administrator means, mostly allows many more. Never lowered, and not raised beyond
`WANTED`: programs that a worker starts inherit it, and some walk through every descriptor they could have.
"""

import sys

from ostler.app.options import Check

WANTED = 65_536
ENOUGH = 4_096
"""Below this the doctor warns: a thousand calls and what the hub itself needs, with room."""
PER_CALL = 2
_SPARE = 96
"""For the store, the listener, logs and the dashboard's readers."""


def limits() -> tuple[int, int] | None:
    """Soft and hard limit; no limit counts as `WANTED`. `None` where the system has none to tell."""
    if sys.platform == "win32":
        return None
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    endless = resource.RLIM_INFINITY
    return WANTED if soft == endless else soft, WANTED if hard == endless else hard


def raise_limit() -> None:
    """Raise the soft limit to the hard one, at most to `WANTED`. Where the system refuses, all stays as it was."""
    found = limits()
    if found is None:
        return
    import resource

    soft, hard = found
    target = min(hard, WANTED)
    if soft >= target:
        return
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (target, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    except (ValueError, OSError):
        return  # some systems have a lower limit beside the one they tell


def check() -> Check | None:
    """What the doctor says of it: a warning where the hard limit is low."""
    found = limits()
    if found is None:
        return None
    reached = max(found[0], min(found[1], WANTED))
    calls = max(0, reached - _SPARE) // PER_CALL
    text = f"{reached} at most, enough for about {calls} live calls at once"
    if reached >= ENOUGH:
        return Check(name="open files", status="ok", message=text)
    remedy = f"raise the hard limit to {WANTED}: 'ulimit -Hn', or LimitNOFILE= where systemd starts the hub"
    return Check(name="open files", status="warning", message=text, remedy=remedy)
