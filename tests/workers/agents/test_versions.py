"""Asking the command line of an agent for its version leaves nothing behind, however it ends."""

import asyncio
import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from ostler.workers.runners.agents import versions
from ostler.workers.runners.agents.shelf import adapter_named
from tests.workers.tagged import until

ADAPTER = adapter_named("claude")


def installed(folder: Path, script: str) -> Mapping[str, str]:
    """An environment in which the agent is this script."""
    path = folder / ADAPTER.name
    path.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    path.chmod(0o755)
    return {"PATH": f"{folder}:/usr/bin:/bin"}


def lives(pid: Path) -> bool:
    try:
        os.kill(int(pid.read_text(encoding="utf-8")), 0)
    except ProcessLookupError:
        return False
    return True


async def test_the_version_is_in_what_it_says(tmp_path: Path) -> None:
    """Whatever else it says; one that is not installed has none."""
    environ = installed(tmp_path, "echo Some Agent 1.2.3-beta of today")
    assert await versions.version_of(ADAPTER, environ) == "1.2.3-beta"
    assert await versions.version_of(ADAPTER, {"PATH": "/nowhere"}) == ""


async def test_one_that_does_not_come_back_has_no_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And is there no longer."""
    monkeypatch.setattr(versions, "_LIMIT_S", 0.3)
    pid = tmp_path / "pid"
    assert await versions.version_of(ADAPTER, installed(tmp_path, f"echo $$ > {pid}; exec sleep 60")) == ""
    assert not pid.exists() or not lives(pid)


async def test_one_that_is_waited_for_no_longer_is_ended(tmp_path: Path) -> None:
    """The wait may be broken off: the program is not left to itself."""
    pid = tmp_path / "pid"
    script = f"echo $$ > {pid}.new; mv {pid}.new {pid}; exec sleep 60"
    asking = asyncio.ensure_future(versions.version_of(ADAPTER, installed(tmp_path, script)))
    await until(pid.exists)
    asking.cancel()
    await asyncio.wait({asking})

    assert asking.cancelled()
    assert not lives(pid)
