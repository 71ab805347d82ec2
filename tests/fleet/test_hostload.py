"""Load of a machine: figures that can be known, and none that cannot."""

import asyncio
import os
import sys
import time
from pathlib import Path

import pytest

from ostler.fleet.gpu import FRESH_MS, RETRY_MS, NvidiaQuery, Vram, parse_nvidia, read_amd
from ostler.fleet.hostload import CpuTimes, HostLoad, Memory, PsutilMachine, group_memory
from tests.fleet.fakes import WallClock

GIB = 1024**3
MIB = 1024**2


class HandClock:
    """A clock that is moved by hand."""

    def __init__(self) -> None:
        self.ms = 1_000

    def now_ms(self) -> int:
        return self.ms

    def stopwatch_us(self) -> int:
        return self.ms * 1_000


class FakeMachine:
    def __init__(self, *cpu: tuple[float, float]) -> None:
        self.times = [CpuTimes(*pair) for pair in cpu]

    def memory(self) -> Memory:
        return Memory(16 * GIB, 4 * GIB)

    def cpu(self) -> CpuTimes:
        return self.times.pop(0) if len(self.times) > 1 else self.times[0]


def load_of(root: Path, *cpu: tuple[float, float], unified: bool = False) -> HostLoad:
    clock = HandClock()
    return HostLoad(
        "box",
        clock,
        machine=FakeMachine(*(cpu or ((0.0, 0.0),))),
        nvidia=NvidiaQuery(clock, None),
        root=root,
        unified_memory=unified,
    )


async def test_load_is_a_difference(tmp_path: Path) -> None:
    """The first report knows none; the next ones what was between them."""
    load = load_of(tmp_path, (10.0, 100.0), (13.0, 104.0), (13.0, 108.0))

    shares = [(await load.report()).cpu_percent for _ in range(3)]

    assert shares == [None, 75.0, 0.0]


@pytest.mark.parametrize("second", [(10.0, 100.0), (1.0, 2.0)])
async def test_a_clock_that_stands_or_jumps_gives_no_load(tmp_path: Path, second: tuple[float, float]) -> None:
    """After a resume the counters may start anew."""
    load = load_of(tmp_path, (10.0, 100.0), second)
    await load.report()

    assert (await load.report()).cpu_percent is None


async def test_what_is_not_there_is_unknown(tmp_path: Path) -> None:
    """No graphics card that could be asked: no figure, not zero."""
    report = await load_of(tmp_path).report()

    assert (report.host, report.at_ms) == ("box", 1_000)
    assert (report.ram_total_bytes, report.ram_used_bytes) == (16 * GIB, 4 * GIB)
    assert (report.vram_total_bytes, report.vram_used_bytes) == (None, None)


async def test_apple_shares_one_memory(tmp_path: Path) -> None:
    """What programs use is not free for models."""
    report = await load_of(tmp_path, unified=True).report()

    assert (report.vram_total_bytes, report.vram_used_bytes) == (16 * GIB, 4 * GIB)


def write(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


CARD = "sys/class/drm/card{}/device/mem_info_vram_{}"


async def test_amd_cards_are_added_up(tmp_path: Path) -> None:
    """A card with an unreadable figure is left out whole."""
    write(
        tmp_path,
        {
            CARD.format(0, "total"): f"{8 * GIB}\n",
            CARD.format(0, "used"): f"{GIB}\n",
            CARD.format(1, "total"): f"{4 * GIB}\n",
            CARD.format(1, "used"): f"{2 * GIB}\n",
            CARD.format(2, "total"): f"{4 * GIB}\n",
            CARD.format(3, "total"): "garbage",
            CARD.format(3, "used"): "1",
        },
    )

    report = await load_of(tmp_path).report()

    assert (report.vram_total_bytes, report.vram_used_bytes) == (12 * GIB, 3 * GIB)
    assert read_amd(tmp_path / "nowhere") is None


GROUP = "sys/fs/cgroup"


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, None),
        # a container: its own group is the root it sees
        ({f"{GROUP}/memory.max": f"{2 * GIB}", f"{GROUP}/memory.current": f"{GIB}"}, Memory(2 * GIB, GIB)),
        ({f"{GROUP}/memory.max": "max\n", f"{GROUP}/memory.current": f"{GIB}"}, None),
        # a limit above physical memory limits nothing
        ({f"{GROUP}/memory.max": f"{64 * GIB}", f"{GROUP}/memory.current": f"{GIB}"}, None),
        # page cache that can be given back is not used
        (
            {
                f"{GROUP}/memory.max": f"{2 * GIB}",
                f"{GROUP}/memory.current": f"{GIB}",
                f"{GROUP}/memory.stat": f"anon 5\nfile 9\ninactive_file {512 * MIB}\nactive_file 3\n",
            },
            Memory(2 * GIB, 512 * MIB),
        ),
        # a service below a slice: the tightest limit on the way holds
        (
            {
                "proc/self/cgroup": "0::/system.slice/ostler.service\n",
                f"{GROUP}/system.slice/memory.max": f"{3 * GIB}",
                f"{GROUP}/system.slice/memory.current": f"{2 * GIB}",
                f"{GROUP}/system.slice/ostler.service/memory.max": f"{4 * GIB}",
                f"{GROUP}/system.slice/ostler.service/memory.current": f"{GIB}",
            },
            Memory(3 * GIB, 2 * GIB),
        ),
        # the first version of control groups
        (
            {
                f"{GROUP}/memory/memory.limit_in_bytes": f"{2 * GIB}",
                f"{GROUP}/memory/memory.usage_in_bytes": f"{GIB}",
                f"{GROUP}/memory/memory.stat": f"total_inactive_file {256 * MIB}\n",
            },
            Memory(2 * GIB, 768 * MIB),
        ),
        (
            {
                f"{GROUP}/memory/memory.limit_in_bytes": "9223372036854771712",
                f"{GROUP}/memory/memory.usage_in_bytes": f"{GIB}",
            },
            None,
        ),
    ],
)
def test_limits_of_control_groups(tmp_path: Path, files: dict[str, str], expected: Memory | None) -> None:
    """Inside a container the machine's memory is not what may be used."""
    assert group_memory(write(tmp_path, files), 16 * GIB) == expected


async def test_a_report_inside_a_container_shows_its_limit(tmp_path: Path) -> None:
    """As total and as used."""
    write(tmp_path, {f"{GROUP}/memory.max": f"{2 * GIB}", f"{GROUP}/memory.current": f"{GIB}"})

    report = await load_of(tmp_path).report()

    assert (report.ram_total_bytes, report.ram_used_bytes) == (2 * GIB, GIB)


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        ("24564, 1024\n", Vram(24564 * MIB, 1024 * MIB)),
        ("24564, 1024\n24564, 0\n", Vram(2 * 24564 * MIB, 1024 * MIB)),
        ("[N/A], [N/A]\n", None),
        ("[N/A], [N/A]\n8192, 1\n", Vram(8192 * MIB, MIB)),
        ("No devices were found\n", None),
        ("", None),
    ],
)
def test_what_nvidia_says(output: str, expected: Vram | None) -> None:
    """Rows of MiB; cards without memory of their own say so."""
    assert parse_nvidia(output) == expected


def script(path: Path, body: str) -> str:
    path.write_text(f"#!{sys.executable}\n{body}\n")
    path.chmod(0o700)
    return str(path)


async def test_nvidia_is_asked_now_and_then(tmp_path: Path) -> None:
    """Not for every report: it is a whole process."""
    log = tmp_path / "log"
    command = script(
        tmp_path / "nvidia-smi",
        f"import sys; open({str(log)!r}, 'a').write(' '.join(sys.argv[1:]) + chr(10)); print('8192, 1024')",
    )
    clock = HandClock()
    query = NvidiaQuery(clock, command)

    first = [await query.vram() for _ in range(3)]
    clock.ms += FRESH_MS
    again = await query.vram()

    assert {*first, again} == {Vram(8192 * MIB, 1024 * MIB)}
    assert log.read_text().splitlines() == ["--query-gpu=memory.total,memory.used --format=csv,noheader,nounits"] * 2


@pytest.mark.parametrize("body", ["import sys; sys.exit(9)", "import time; time.sleep(60)"])
async def test_a_failing_or_hanging_tool_is_left_alone(tmp_path: Path, body: str) -> None:
    """It is killed in time, gives no figure, and is not tried again at once."""
    count = tmp_path / "count"
    count.touch()
    command = script(tmp_path / "nvidia-smi", f"open({str(count)!r}, 'a').write('x')\n{body}")
    clock = HandClock()
    query = NvidiaQuery(clock, command, timeout_s=1.5 if "sleep" in body else 30.0)

    assert await asyncio.wait_for(query.vram(), 20.0) is None
    clock.ms += RETRY_MS - 1
    assert await query.vram() is None
    assert count.read_text() == "x"


async def test_a_tool_that_is_not_there_gives_no_figure() -> None:
    """Nor one that cannot be started."""
    assert await NvidiaQuery(HandClock(), None).vram() is None
    assert await NvidiaQuery(HandClock(), "/no/such/tool").vram() is None


async def test_this_machine_has_a_load() -> None:
    """The real thing: plausible figures, and cheap to get."""
    clock = WallClock()
    load = HostLoad("here", clock, nvidia=NvidiaQuery(clock, None))
    await load.report()
    started = time.process_time()
    report = await load.report()
    cost_ms = (time.process_time() - started) * 1_000

    assert report.ram_total_bytes is not None
    assert report.ram_used_bytes is not None
    assert 0 < report.ram_used_bytes <= report.ram_total_bytes
    assert report.cpu_percent is None or 0 <= report.cpu_percent <= 100
    assert cost_ms < 50


def test_the_processor_counts_every_second_once() -> None:
    """Guest time is part of user time, waiting for a disk is not work."""
    times = PsutilMachine().cpu()

    assert 0 < times.busy_s <= times.total_s
    assert times.total_s <= os.sysconf("SC_CLK_TCK") * 10**9
