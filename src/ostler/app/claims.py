"""`ostler claim` and `ostler unclaim`: the claim in the repository's file, its push, and what GitHub is told."""

from pathlib import Path

import msgspec

from ostler.workers import claim_sharing, claims


class ClaimWish(msgspec.Struct, frozen=True, kw_only=True):
    """What a person wants of a claim. `folder`: anywhere in the repository."""

    task: str
    folder: str = "."
    release: bool = False
    who: str | None = None
    """`None`: the user's own name."""
    force: bool = False
    push: bool = False
    with_issue: bool = False


class ClaimAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """What became of it. `change` is `claimed`, `held`, `released` or `free`."""

    task: str
    assignee: str
    change: str
    pushed: str | None = None
    """The same on the remote's branch, where that was wanted."""
    issue: str = ""
    """What GitHub was told, or why it was not."""


def change(wish: ClaimWish) -> ClaimAnswer:
    """Claim or release. Raises what `workers.claims` does; then nothing has changed, here or on the remote."""
    place, name = place_of(wish.folder), wish.who or claims.own_name()
    # The remote first: when somebody else was faster there, nothing is changed here either.
    pushed = None
    if wish.push:
        pushed = claim_sharing.publish(place, wish.task, name, release_it=wish.release, force=wish.force)
    act = claims.release if wish.release else claims.claim
    what = act(place, wish.task, name, force=wish.force)
    issue = ""
    if wish.with_issue:
        issue = claim_sharing.sync_issue(place, wish.task, assign=not wish.release, create=True)
    return ClaimAnswer(
        task=wish.task,
        assignee=name,
        change=what.value,
        pushed=None if pushed is None else pushed.value,
        issue=issue,
    )


def place_of(text: str) -> Path:
    """The folder with the file of claims: the one named, or the nearest above it that has one."""
    folder = Path(text).expanduser().resolve()
    return next((place for place in (folder, *folder.parents) if (place / claims.FILE).is_file()), folder)
