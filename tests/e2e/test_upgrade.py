"""Real older code and the code of now as hubs of one pool: upgraded one after the other while work comes in.

The older code is that of just before the newest migration, taken from the history of the repository; where there is
none, as in a copy without it, `tests/store/test_upgrades.py` still holds each migration to its promise.
"""

import io
import subprocess
import tarfile
from pathlib import Path

import psycopg
import pytest

from ostler.store import migrate
from tests.e2e.process import HubProcess, until
from tests.e2e.test_hubs import Pool, job, profile_of, submitted

ROOT = Path(__file__).resolve().parents[2]
NEWEST = max((migrate.DIRECTORY / "versions").glob("0*.py")).relative_to(ROOT)


def git(*words: str) -> bytes:
    """What it says; nothing where it has nothing to say."""
    done = subprocess.run(["git", "-C", str(ROOT), *words], capture_output=True, check=False, timeout=60)  # noqa: S607 -- the system's own
    return done.stdout if done.returncode == 0 else b""


def before_the_newest() -> str:
    """The last commit that lacks the newest migration and has each number once; empty where none is known."""
    folder = str(NEWEST.parent)
    for commit in git("log", "--format=%H", "--", folder).decode().split():
        listed = git("ls-tree", "--name-only", commit, f"{folder}/").decode().split()
        names = {Path(path).stem for path in listed if Path(path).name.startswith("0")}
        if NEWEST.stem not in names and len({name[:4] for name in names}) == len(names) > 0:
            return commit
    return ""


def run_sql(url: str, text: str, *values: str) -> None:
    """Past every guard of the code."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(text.encode(), values or None)


OLDER = before_the_newest()


@pytest.fixture
def older(tmp_path: Path) -> Path:
    """Its sources, in a folder of their own."""
    folder = tmp_path / "older"
    with tarfile.open(fileobj=io.BytesIO(git("archive", OLDER, "src"))) as packed:
        packed.extractall(folder, filter="data")
    assert not (folder / NEWEST).exists()
    return folder / "src"


@pytest.mark.skipif(not OLDER, reason="no history here to take older code from; see tests/store/test_upgrades.py")
def test_hubs_of_two_versions_hand_work_over_without_losing_any(older: Path, tmp_path: Path, postgres_url: str) -> None:
    """The older hub leads on while the newer one brings the schema up to date and stands by; then the newer one leads,
    and the older machine comes back with new code. Work is handed in all the time, at either.
    """
    run_sql(postgres_url, "DROP SCHEMA ostler CASCADE")
    pool = Pool(tmp_path, postgres_url)
    ids: list[str] = []

    def hand_in(hub: HubProcess, count: int) -> None:
        for _ in range(count):
            ids.append(f"t{len(ids)}")
            submitted(hub.client, job(ids[-1], pool.traces, 0.2))

    try:
        folder = tmp_path / "a"
        folder.mkdir()
        first = pool.hubs["a"] = HubProcess(
            folder, profile=profile_of(postgres_url, "a"), env={"PYTHONPATH": str(older)}
        )
        hand_in(first, 4)
        second = pool.start("b")
        until(lambda: pool.leader(second) == "a", "the older one leads on")
        hand_in(first, 6)
        hand_in(second, 6)
        pool.all_done(second, ids)  # older code alone has run them, on the newer schema
        hand_in(second, 6)
        assert first.stop() == 0
        assert pool.led_by_another(second, "a") < 10
        hand_in(second, 6)
        first = pool.start("a")
        until(lambda: "stands by" in first.log.read_text(encoding="utf-8"), "it stands by with new code")
        hand_in(first, 4)
        pool.all_done(second, ids)
        assert not (pool.traces / "twice").exists()
    finally:
        pool.end()


def test_an_outdated_hub_leaves_the_lead_to_a_newer_one(tmp_path: Path, postgres_url: str) -> None:
    """A hub that stands by while a newer version adds to the schema does not lead any more, says so, and passes on as
    before: nobody has to hurry to upgrade it.
    """
    pool = Pool(tmp_path, postgres_url)
    try:
        first, second = pool.start("a"), pool.start("b")
        until(lambda: pool.leader(second) == "a", "the first one leads")
        run_sql(postgres_url, "UPDATE ostler.alembic_version SET version_num = '9999'")
        submitted(second.client, job("t1", pool.traces))
        pool.all_done(second, ["t1"])
        assert first.stop() == 0

        until(lambda: "leads no more" in second.log.read_text(encoding="utf-8"), "it says that it is outdated")
        assert second.popen.poll() is None
        run_sql(postgres_url, "UPDATE ostler.alembic_version SET version_num = %s", migrate.REVISIONS[-1])
        third = pool.start("c")
        until(lambda: pool.leader(third) == "c", "a hub that knows the schema leads")
        submitted(second.client, job("t2", pool.traces))
        pool.all_done(second, ["t1", "t2"])
        assert second.stop() == 0
    finally:
        pool.end()
