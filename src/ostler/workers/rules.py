"""What a worker lets a task run: which kinds, which programs, where, with which environment.

`WorkerRules.launch` is the only maker of a `Launch`, and a process is started from nothing else: what is not allowed
cannot be run by mistake. All refusals are `NotAllowedError`; nothing has run when one is raised.

The programs are only as narrow as what they can start themselves: who allows a shell, an interpreter or `make` allows
everything. A symbolic link below a root is followed before its place is judged.
"""

import os
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from pathlib import Path

import msgspec

from ostler.domain.errors import NotAllowedError
from ostler.domain.loops import LOOP_ENV
from ostler.domain.tasks import TaskKind, TaskSpec

ANY = "*"
OWN_PREFIX = "OSTLER_"
"""Variables a task may never set: an attempt is found and killed by them."""

_CHOOSES_PROGRAM = ("PATH", "LD_*", "DYLD_*")
"""Variables that decide which code a program name stands for; a task may set them only where any program is allowed."""

DEFAULT_ENV = ("PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LC_*", "TZ", "TMPDIR")


class Launch(msgspec.Struct, frozen=True, kw_only=True):
    """A command that was allowed: what exactly to start. Made by `WorkerRules.launch`."""

    argv: tuple[str, ...]
    program: str
    """What `argv[0]` stands for: a bare name to look up on PATH, or an absolute path."""
    cwd: str
    env: Mapping[str, str]
    stdin: str | None = None
    """File that is its standard input; `None`: there is nothing to read."""


class AgentEnv(msgspec.Struct, frozen=True, kw_only=True):
    """What an agent's adapter puts into the environment, and the patterns of what is its own to set."""

    agent: str
    env: Mapping[str, str]
    owned: tuple[str, ...]

    def __repr__(self) -> str:
        return f"AgentEnv(agent={self.agent!r})"


class WorkerRules(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The allow-lists of a worker. Patterns are shell-style globs and tell upper from lower case.

    The default allows model calls and no command at all.
    """

    kinds: frozenset[TaskKind] = frozenset({TaskKind.CHAT})
    commands: tuple[str, ...] = ()
    """A pattern without `/` allows a bare program name, looked up on the worker's PATH; one with `/` an absolute
    path; `*` alone everything."""
    cwd_roots: tuple[str, ...] = ()
    """Directories a task may work in or below, the first being the one to start in; none = anywhere, starting in the
    worker's own."""
    env: tuple[str, ...] = DEFAULT_ENV
    """Names of the worker's own variables that a task gets to see."""
    task_env: tuple[str, ...] = (ANY,)
    """Names a task may set for itself."""
    agents: tuple[str, ...] = ()
    """Agent command lines that may run, the first being the one for tasks that name none."""
    repos: Mapping[str, str] = {}
    """Repositories that an agent may work on, by the name that tasks give; the path of each."""

    def check_kind(self, kind: TaskKind) -> None:
        """Raises `NotAllowedError` when the kind of work is not allowed here."""
        if kind not in self.kinds:
            allowed = ", ".join(sorted(self.kinds)) or "none"
            raise NotAllowedError(
                f"this worker does not run tasks of kind '{kind}'",
                where="kind",
                remedy=f"it allows: {allowed}; add the kind to the worker's rules",
            )

    def launch(
        self, argv: Iterable[str], spec: TaskSpec, *, environ: Mapping[str, str], tags: Mapping[str, str]
    ) -> Launch:
        """The command of a task made ready to start: `environ` is the worker's own environment, `tags` go in last.

        Raises `NotAllowedError`.
        """
        words = tuple(argv)
        _check_text(words, spec)
        cwd = self._cwd(spec.cwd)
        # What is judged is what is started: `a/../b` is not left for the system to resolve through a link.
        program = os.path.normpath(Path(cwd, words[0])) if "/" in words[0] else words[0]
        self._check_program(program)
        self._check_task_env(spec.env)
        inherited = {name: value for name, value in environ.items() if _matches(name, self.env)}
        inherited = {name: value for name, value in inherited.items() if not name.startswith(OWN_PREFIX)}
        env = {**inherited, **spec.env, "PWD": cwd, **tags}
        return Launch(argv=words, program=program, cwd=cwd, env=env)

    def launch_agent(
        self,
        argv: Iterable[str],
        spec: TaskSpec,
        own: "AgentEnv",
        *,
        cwd: str,
        environ: Mapping[str, str],
        tags: Mapping[str, str],
    ) -> Launch:
        """An agent command line made ready to start in a folder of the worker's own choosing.

        The program is allowed by `agents`, not by `commands`. Of the environment it sees what a command would, without
        what its adapter owns. Raises `NotAllowedError`.
        """
        words = tuple(argv)
        _check_text(words, spec)
        self._check_task_env(spec.env)
        for name in sorted(spec.env):
            if _matches(name, (*own.owned, *own.env)):
                raise NotAllowedError(
                    f"a task may not set '{name}' for the agent {own.agent}",
                    where=f"env.{name}",
                    remedy="leave it out: the worker sets it for each run",
                )
        inherited = {name: value for name, value in environ.items() if _matches(name, self.env)}
        hidden = (*own.owned, f"{OWN_PREFIX}*", "XDG_*", "GIT_*")
        inherited = {name: value for name, value in inherited.items() if not _matches(name, hidden)}
        env = {**inherited, **spec.env, **own.env, "PWD": cwd, **tags}
        return Launch(argv=words, program=words[0], cwd=cwd, env=env)

    def repo_path(self, name: str) -> Path:
        """Where a repository is. Raises `NotAllowedError` when it is none of this worker's."""
        path = self.repos.get(name)
        if path is None:
            known = ", ".join(sorted(self.repos)) or "none"
            raise NotAllowedError(
                f"this worker may not let an agent work on '{name}'",
                where="repo",
                remedy=f"it has: {known}; add NAME=PATH to worker.repos in its profile",
            )
        return _home_expanded(path)

    def folder(self, asked: str | None) -> str:
        """The folder a task names, judged as for a command. Raises `NotAllowedError`."""
        return self._cwd(asked)

    def _cwd(self, asked: str | None) -> str:
        # The directory need not exist yet: whether it does is the start's question, whether it may is this one.
        start = _home_expanded(self.cwd_roots[0]) if self.cwd_roots else Path.cwd()
        cwd = os.path.realpath(start / _home_expanded(asked) if asked else start)
        roots = [os.path.realpath(_home_expanded(root)) for root in self.cwd_roots]
        if roots and not any(Path(cwd).is_relative_to(root) for root in roots):
            raise NotAllowedError(
                f"the worker may not run commands in '{cwd}'",
                where="cwd",
                remedy="use a directory below " + " or ".join(roots),
            )
        return cwd

    def _check_program(self, program: str) -> None:
        if ANY in self.commands:
            return
        alike = [pattern for pattern in self.commands if ("/" in pattern) == ("/" in program)]
        if not _matches(program, alike):
            allowed = ", ".join(self.commands) or "none"
            raise NotAllowedError(
                f"this worker may not run '{program}'",
                where="argv[0]",
                remedy=f"it allows: {allowed}; add the program to the worker's rules",
            )

    def _check_task_env(self, env: Mapping[str, str]) -> None:
        closed = () if ANY in self.commands else _CHOOSES_PROGRAM
        for name in sorted(set(env) - set(LOOP_ENV)):
            if name.startswith(OWN_PREFIX) or _matches(name, closed) or not _matches(name, self.task_env):
                raise NotAllowedError(
                    f"a task may not set the variable '{name}' on this worker",
                    where=f"env.{name}",
                    remedy="leave it out, or set it where the worker is started and list it in the worker's rules",
                )


def _matches(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def _home_expanded(path: str) -> Path:
    """With a leading `~` as the worker's home; `~name` is left alone."""
    return Path(path).expanduser() if path == "~" or path.startswith("~/") else Path(path)


def _check_text(argv: tuple[str, ...], spec: TaskSpec) -> None:
    """Refuse what no system can start."""
    if not argv or not argv[0]:
        raise NotAllowedError("there is no program to run", where="argv", remedy="give the program and its arguments")
    texts = (*argv, spec.cwd or "", *spec.env.keys(), *spec.env.values())
    if any("\x00" in text for text in texts):
        raise NotAllowedError("a command cannot hold a NUL character", where="argv, cwd or env", remedy="remove it")
    if any(not name or "=" in name for name in spec.env):
        raise NotAllowedError("a variable needs a name without '='", where="env", remedy="correct the name")
