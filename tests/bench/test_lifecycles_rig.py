"""The rig of `bench/lifecycles.py` measures what it says: same rows on both sides, real lives, honest verdicts."""

import json
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import psycopg
import pytest

from bench.hop.machine import Program, StartError
from bench.lives import recovery
from bench.lives.crew import Order
from bench.lives.figures import Shown, Window, lives_table, quantile, ratio, verdict, window
from bench.lives.peering import FOLDER, NAMES, Peer, PeerError, PeerLives, found
from bench.lives.site import crew_of, hub, used
from bench.lives.stores import postgres_sides, sqlite_sides
from tests.postgres_server import PostgresServer

PEER = """
import asyncio, sys
sys.path.insert(0, {folder!r})
import rig

async def lives():
    held, done = rig.Lives(), []

    async def put(name):
        asyncio.get_running_loop().call_later(0.001, run, name)

    def run(name):
        done.append(name)
        held.ran(name)

    async def settled():
        return True

    await held.serve(put, settled)
    assert len(done) == len(set(done))

if sys.argv[2] == "version":
    print("fake 1.0")
elif sys.argv[2] == "lives":
    asyncio.run(lives())
else:
    sys.exit("no such verb")
"""


# --- figures -------------------------------------------------------------------------------------------------------


def at(rate: float) -> Window:
    return Window(rate=rate, p50_ms=1.0, p99_ms=2.0)


def test_a_ratio_is_of_neighbours_and_not_of_sums() -> None:
    """A machine that was slow for one turn of both sides says nothing about either."""
    assert ratio([at(80), at(8), at(800)], [at(100), at(10), at(1_000)]) == pytest.approx(0.8)
    assert ratio([at(50), at(90), at(10)], [at(100), at(100), at(100)]) == pytest.approx(0.5), "the median, not a mean"
    with pytest.raises(ValueError, match=r"shorter|longer"):
        ratio([at(1)], [])


def test_a_window_says_rate_and_quantiles_of_what_was_seen() -> None:
    """So many lives in so many seconds; steps only where they can be seen."""
    seen = window(2.0, [float(n) for n in range(100)], [1.0, 2.0, 9.0])
    assert (seen.rate, seen.p50_ms, seen.p99_ms) == (50.0, 50.0, 99.0)
    assert (seen.step_p50_ms, seen.step_p99_ms) == (2.0, 9.0)
    assert window(1.0, [3.0]).step_p50_ms is None
    assert quantile([], 0.99) == 0.0


def test_the_table_shows_lowest_median_highest_and_the_ratio() -> None:
    """One line for each side; a side without steps or without a raw loop shows none."""
    rows = [
        Shown(name="store", in_flight=10, windows=(at(30), at(10), at(20)), ratio=0.812),
        Shown(name="peer", in_flight=10, windows=(at(5),)),
    ]
    head, store, peer = lives_table(rows)
    assert head.split()[:3] == ["in", "flight", "side"]
    assert store.split() == ["10", "store", "10", "20", "30", "0.81", "1.00", "2.00", "-", "-"]
    assert peer.split() == ["10", "peer", "5", "5", "5", "1.00", "2.00", "-", "-"]


@pytest.mark.parametrize(
    ("value", "at_least", "said"), [(2.0, True, "met"), (1.9, True, "NOT MET"), (2.0, False, "met")]
)
def test_a_bar_is_met_where_it_is_reached(value: float, at_least: bool, said: str) -> None:
    """And said to be missed where it is not."""
    assert verdict(value, 2.0, at_least=at_least) == said


# --- stores --------------------------------------------------------------------------------------------------------


async def test_the_raw_loop_of_sqlite_leaves_the_rows_that_the_store_leaves(tmp_path: Path) -> None:
    """Else its figure would be the limit of something else."""
    sides = await sqlite_sides(tmp_path)
    for side in sides.values():
        for in_flight in (1, 7):
            lived = await side.live(20, in_flight)
            assert len(lived.ended_ms) == 20
            assert len(lived.steps_ms) == 80, "four transitions each"
            assert lived.ended_ms == sorted(lived.ended_ms)
        await side.close()

    found = [rows_of_file(tmp_path / name) for name in ("store.db", "raw.db")]
    assert found[0] == found[1]
    assert found[0][0] == [("succeeded", "evaluating", 1, 40)]


def rows_of_file(path: Path) -> list[list[tuple[object, ...]]]:
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        return [connection.execute(text).fetchall() for text in LEFT]


LEFT = (
    "SELECT state, prev_state, generation, count(*) FROM task GROUP BY 1, 2, 3",
    "SELECT name, count(*) FROM event GROUP BY 1 ORDER BY 1",
    "SELECT count(*), count(finished_ms), count(session), count(wait_code) FROM task",
    "SELECT count(*) FROM task_spec",
)


async def test_the_raw_loop_of_postgres_leaves_the_rows_that_the_store_leaves(postgres: PostgresServer) -> None:
    """As on a file."""
    urls = [postgres.new_database(), postgres.new_database()]
    for side in (await postgres_sides(*urls)).values():
        assert len((await side.live(20, 7)).steps_ms) == 80
        await side.close()
    found = []
    for url in urls:
        with psycopg.connect(url, options="-c search_path=ostler") as connection:
            found.append([connection.execute(text).fetchall() for text in LEFT])
        postgres.drop(url)
    assert found[0] == found[1]
    assert found[0][0] == [("succeeded", "evaluating", 1, 20)]


# --- a whole hub ---------------------------------------------------------------------------------------------------


def test_a_crew_lives_real_tasks_of_a_real_hub(tmp_path: Path) -> None:
    """One at a time and many in a request; the hub agrees that all have succeeded, each at its first attempt."""
    with hub(tmp_path / "hub") as site, crew_of(site, slots=8) as hands:
        first = used(site, hands, Order(count=3, in_flight=1))
        many = used(site, hands, Order(count=25, in_flight=20, batch=10))

        assert len(first.reading.ended_ms) == len(first.reading.submitted_ms) == 3
        assert len(many.reading.ended_ms) == len(many.reading.started_ms) == 25
        assert len(many.reading.submitted_ms) == 3, "requests, not tasks"
        assert all(start <= end for start, end in zip(many.reading.started_ms, many.reading.ended_ms, strict=True))
        assert many.hub_us >= 0
        rows = site.client.tasks(limit=100).tasks
        assert {(row.state.value, row.generation) for row in rows} == {("succeeded", 1)}
        assert len(rows) == 28


# --- recovery ------------------------------------------------------------------------------------------------------


def worker(tmp_path: Path, code: str) -> recovery.StartWorker:
    return lambda name: Program(
        [sys.executable, "-I", "-c", code.format(lines=tmp_path / "lines", name=name)], tmp_path
    )


def test_recovery_counts_from_the_kill_to_the_second_run(tmp_path: Path) -> None:
    """A second worker that runs the job only when the first one is gone."""
    code = (
        "import os, time, pathlib\n"
        "lines, name = pathlib.Path('{lines}'), '{name}'\n"
        "pid = lines.with_name('pid')\n"
        "if name == 'first':\n"
        "    pid.write_text(str(os.getpid()))\n"
        "else:\n"
        "    stat = pathlib.Path(f'/proc/{{pid.read_text()}}/stat')\n"
        "    while stat.read_text().split(')')[1].split()[0] != 'Z': time.sleep(0.01)\n"
        "    time.sleep(0.2)\n"
        "with lines.open('a') as out: out.write('run\\n')\n"
        "time.sleep(60)\n"
    )
    seconds = recovery.again_s(worker(tmp_path, code), lambda: None, tmp_path / "lines", 20.0)

    assert seconds is not None
    assert 0.15 < seconds < 15.0


def test_a_job_that_never_comes_back_is_said_to_be_that(tmp_path: Path) -> None:
    """No time is made up for it."""
    code = "import time\nif '{name}' == 'first': open('{lines}', 'a').write('run\\n')\ntime.sleep(60)\n"

    assert recovery.again_s(worker(tmp_path, code), lambda: None, tmp_path / "lines", 0.2) is None


def test_a_worker_that_ends_at_once_is_no_recovery(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it said is told."""
    monkeypatch.setattr(recovery, "START_S", 0.5)
    code = "print('no database'); raise SystemExit(1)"

    with pytest.raises(StartError, match="no database"):
        recovery.again_s(worker(tmp_path, code), lambda: None, tmp_path / "lines", 1.0)


# --- peers ---------------------------------------------------------------------------------------------------------


def environment(tmp_path: Path, script: str) -> Path:
    """An environment whose interpreter runs something else."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "peer.py").write_text(script, encoding="utf-8")
    python = tmp_path / "bin" / "python"
    python.write_text(f'#!/bin/sh\nexec {sys.executable} -I {tmp_path / "peer.py"} "$@"\n', encoding="utf-8")
    python.chmod(0o755)
    return tmp_path


def test_a_peer_lives_what_it_is_ordered(tmp_path: Path) -> None:
    """Order after order, each life once; the version is the peer's own word."""
    there, missing = found(environment(tmp_path, PEER.format(folder=str(FOLDER))), ["pgqueuer"])
    assert ([peer.version for peer in there], missing) == (["fake 1.0"], [])
    lives = PeerLives(there[0], "postgresql://nowhere")
    try:
        for count, in_flight in ((3, 1), (20, 10)):
            reading = lives.live(count, in_flight)
            assert len(reading.ended_ms) == count
            assert reading.ended_ms[0] >= 1.0
            assert reading.seconds >= 0.001 * count / in_flight
    finally:
        lives.close()


def test_an_environment_without_the_peers_says_which_are_missing(tmp_path: Path) -> None:
    """They are left out, with the reason; nothing breaks."""
    there, missing = found(environment(tmp_path, "raise SystemExit('No module named x')"))
    assert (there, len(missing)) == ([], len(NAMES))
    assert missing[0] == "pgqueuer: pgqueuer version: No module named x"
    assert found(tmp_path / "none")[0] == []


def test_a_peer_that_ends_in_the_middle_is_told_with_its_words(tmp_path: Path) -> None:
    """Instead of waiting for it for ever."""
    script = "import sys\nif sys.argv[2] == 'version': print('x')\nelse: sys.exit('out of order')"
    (peer,), _ = found(environment(tmp_path, script), ["dbos"])
    lives = PeerLives(peer, "url")
    with pytest.raises(PeerError, match="out of order"):
        lives.live(1, 1)
    lives.close()
    with pytest.raises(PeerError, match=r"dbos put: .*out of order"):
        peer.run("put", "url")


@pytest.mark.parametrize("name", NAMES)
def test_the_program_of_each_peer_is_there_and_compiles(name: str) -> None:
    """It runs with another interpreter, so nothing else here would notice."""
    source = (FOLDER / f"with_{name}.py").read_text(encoding="utf-8")
    compile(source, name, "exec")
    for verb in ("version", "lives", "install", "work", "put"):
        assert verb in source or "case [verb, *rest]" in source


def test_help_names_the_parts_and_what_they_take() -> None:
    """Somebody who has never seen it finds out what to type."""
    program = Path(__file__).resolve().parents[2] / "bench" / "lifecycles.py"
    done = subprocess.run([sys.executable, program, "--help"], capture_output=True, text=True, check=True)
    for word in ("--peers", "--part", "recovery", "--alone", "--quick"):
        assert word in done.stdout


def test_what_a_peer_answers_is_checked_for_its_form(tmp_path: Path) -> None:
    """A line that is no reading ends the run; it is not taken for nought."""
    script = "import sys\nprint('x' if sys.argv[2] == 'version' else " + repr(json.dumps({"seconds": "1"})) + ")"
    peer = Peer("dbos", environment(tmp_path, script) / "bin" / "python")
    lives = PeerLives(peer, "url")
    with pytest.raises(Exception, match="Expected `float`"):
        lives.live(1, 1)
    lives.close()
