"""An agent's task is claimed in its repository before it starts, by itself, and given back when it came to nothing.

Only where the repository has a `TODO.md` with a line for the task. A task that somebody else has claimed is not begun:
it needs a person, because their work cannot be seen from here. What a run has claimed and then not done is released; a
claim that was there before (the user's own, or that of a run whose worker was killed) stays.
"""

import asyncio
from collections.abc import Callable
from pathlib import Path

from ostler.domain.errors import ConflictError, NotAllowedError, NotFoundError, OstlerError
from ostler.domain.states import FailureClass
from ostler.domain.work import Finished
from ostler.workers import claims
from ostler.workers.run import Run, Runner

_CLAIMED_FILE = "claimed"
CLAIM_LABEL = "claim"
"""Label of a task whose line in the file goes by another name than its id."""


class ClaimingRunner:
    """Claims around another runner. `repo_path`: where a repository is; raises `NotAllowedError`."""

    def __init__(self, inner: Runner, repo_path: Callable[[str], Path], who: str) -> None:
        self._inner = inner
        self._repo_path = repo_path
        self._who = who

    async def run(self, run: Run) -> Finished:
        """Claim, run, and give back what was not done. Raises `NotAllowedError` as the inner one does."""
        repo, task = self._place(run)
        if repo is None or await asyncio.to_thread(claims.claimed_by, repo, task) is None:
            return await self._inner.run(run)
        try:
            change = await asyncio.to_thread(self._claimed, repo, task, run)
        except ConflictError as error:
            return run.failed(FailureClass.POLICY, str(error))
        except (NotFoundError, OSError) as error:
            return run.failed(FailureClass.ENVIRONMENT, f"the task cannot be claimed: {error}")
        done = False
        try:
            finished = await self._inner.run(run)
            done = finished.ok
            return finished
        finally:
            if change is claims.Change.CLAIMED and not done:
                self._give_back(repo, task)

    def _claimed(self, repo: Path, task: str, run: Run) -> claims.Change:
        """Claim; what an earlier daemon claimed for this very run was claimed by it."""
        change = claims.claim(repo, task, self._who)
        if run.folder is None:
            return change
        note = run.folder / _CLAIMED_FILE
        if change is claims.Change.CLAIMED:
            note.touch()
        return claims.Change.CLAIMED if note.exists() else change

    def _place(self, run: Run) -> tuple[Path | None, str]:
        task = run.spec.metadata.get(CLAIM_LABEL, run.spec.id)
        try:
            return (self._repo_path(run.spec.repo) if run.spec.repo is not None else None), task
        except NotAllowedError:
            return None, task  # the inner runner says so

    def _give_back(self, repo: Path, task: str) -> None:
        """At once, also when the run was broken off; somebody who took it by force meanwhile keeps it."""
        try:
            claims.release(repo, task, self._who)
        except (OstlerError, OSError):
            return
