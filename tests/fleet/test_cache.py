"""Cached probe results: the same answer as a fresh one, never for something else, never a crash."""

import stat
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ostler.domain.catalog import EndpointKind, EndpointSpec
from ostler.domain.fleet import Probe, ProbeStatus, Resident
from ostler.fleet.cache import FILE_NAME, RATE_LIMIT_TTL_MS, STATUS_TTL_MS, ProbeCache, check_endpoints
from ostler.fleet.drivers import DriverSet
from tests.fleet.conftest import PLENTY
from tests.fleet.fakes import WallClock

NOW_MS = 1_792_000_000_000
BOX = EndpointSpec(
    name="box", kind=EndpointKind.OLLAMA, url="http://box:11434", provider="ollama", host="box", local=True
)
CLOUD = EndpointSpec(
    name="cloud",
    kind=EndpointKind.OPENAI,
    url="http://127.0.0.1:1",
    provider="openai",
    host="cloud",
    local=False,
    api_key_env="CLOUD_KEY",
)


def probe_of(spec: EndpointSpec, status: ProbeStatus = ProbeStatus.AVAILABLE, at_ms: int = NOW_MS) -> Probe:
    return Probe(
        endpoint=spec.name,
        status=status,
        at_ms=at_ms,
        models=("small:1b",),
        residents=(Resident(model="small:1b", context_tokens=4096),),
        context_tokens={"small:1b": 8192},
        message="why",
        retry_after_ms=7_000,
    )


class Counting:
    """A probe that counts how often it is asked."""

    def __init__(self, status: ProbeStatus = ProbeStatus.AVAILABLE) -> None:
        self.status = status
        self.asked: list[str] = []

    async def __call__(self, spec: EndpointSpec) -> Probe:
        self.asked.append(spec.name)
        return probe_of(spec, self.status)


@pytest.mark.parametrize("status", ProbeStatus)
async def test_the_exit_code_is_the_same_from_cache_and_fresh(tmp_path: Path, status: ProbeStatus) -> None:
    """For every status there is."""
    probe, cache = Counting(status), ProbeCache(tmp_path, {})

    (fresh,) = await check_endpoints([BOX], probe, cache, NOW_MS)
    (cached,) = await check_endpoints([BOX], probe, cache, NOW_MS + 1)

    assert (fresh.cached, cached.cached) == (False, True)
    assert cached.exit_code == fresh.exit_code == status.exit_code
    assert cached.probe == fresh.probe
    assert probe.asked == ["box"]


async def test_a_missing_key_has_one_exit_code(tmp_path: Path) -> None:
    """With the real driver: invalid key, from cache and fresh, and no file ever says otherwise."""
    drivers = DriverSet({}, WallClock(), PLENTY)
    cache = ProbeCache(tmp_path, {})
    now_ms = WallClock().now_ms()

    (fresh,) = await check_endpoints([CLOUD], drivers.probe, cache, now_ms)
    (cached,) = await check_endpoints([CLOUD], drivers.probe, cache, now_ms + 1_000)

    assert (fresh.cached, cached.cached) == (False, True)
    assert (fresh.exit_code, cached.exit_code) == (3, 3)
    await drivers.close()


@pytest.mark.parametrize(
    ("status", "limit_ms"),
    [
        (ProbeStatus.AVAILABLE, STATUS_TTL_MS),
        (ProbeStatus.UNAVAILABLE, STATUS_TTL_MS),
        (ProbeStatus.KEY_INVALID, STATUS_TTL_MS),
        (ProbeStatus.RATE_LIMITED, RATE_LIMIT_TTL_MS),
    ],
)
def test_results_grow_old(tmp_path: Path, status: ProbeStatus, limit_ms: int) -> None:
    """Rate limits sooner than the rest; a result from the future is as bad as an old one."""
    cache = ProbeCache(tmp_path, {})
    cache.store([(BOX, probe_of(BOX, status))])

    assert cache.fresh([BOX], NOW_MS + limit_ms - 1)
    assert not cache.fresh([BOX], NOW_MS + limit_ms)
    assert not cache.fresh([BOX], NOW_MS - 1)


async def test_no_age_at_all_probes_everything_and_keeps_the_results(tmp_path: Path) -> None:
    """That is what forcing means."""
    probe, cache = Counting(), ProbeCache(tmp_path, {})
    await check_endpoints([BOX], probe, cache, NOW_MS)

    (forced,) = await check_endpoints([BOX], probe, cache, NOW_MS, ttl_ms=0)

    assert not forced.cached
    assert probe.asked == ["box", "box"]


async def test_only_what_is_missing_is_probed(tmp_path: Path) -> None:
    """Results come in the order asked, the others stay in the file."""
    probe, cache = Counting(), ProbeCache(tmp_path, {"CLOUD_KEY": "k"})
    await check_endpoints([BOX], probe, cache, NOW_MS)

    results = await check_endpoints([CLOUD, BOX], probe, cache, NOW_MS)
    again = await check_endpoints([BOX, CLOUD], probe, cache, NOW_MS)

    assert [(result.probe.endpoint, result.cached) for result in results] == [("cloud", False), ("box", True)]
    assert all(result.cached for result in again)
    assert probe.asked == ["box", "cloud"]


@pytest.mark.parametrize(
    ("changed", "env"),
    [
        ({"url": "http://elsewhere"}, {"CLOUD_KEY": "old"}),
        ({"kind": EndpointKind.ANTHROPIC}, {"CLOUD_KEY": "old"}),
        ({"api_key_env": "OTHER_KEY"}, {"CLOUD_KEY": "old", "OTHER_KEY": "old"}),
        ({}, {"CLOUD_KEY": "new"}),
        ({}, {"CLOUD_KEY": ""}),
        ({}, {}),
    ],
)
def test_a_result_is_for_what_was_probed(tmp_path: Path, changed: dict[str, object], env: dict[str, str]) -> None:
    """Whoever changes an address or a key wants to know whether that helped."""
    ProbeCache(tmp_path, {"CLOUD_KEY": "old"}).store([(CLOUD, probe_of(CLOUD))])

    assert ProbeCache(tmp_path, {"CLOUD_KEY": "old"}).fresh([CLOUD], NOW_MS)
    assert not ProbeCache(tmp_path, env).fresh([msgspec.structs.replace(CLOUD, **changed)], NOW_MS)


def test_setting_a_missing_key_makes_the_result_stale(tmp_path: Path) -> None:
    """The advice "set this variable" must work at once."""
    ProbeCache(tmp_path, {}).store([(CLOUD, probe_of(CLOUD, ProbeStatus.KEY_INVALID))])

    assert not ProbeCache(tmp_path, {"CLOUD_KEY": "k"}).fresh([CLOUD], NOW_MS)


def test_the_file_is_private_and_holds_no_key(tmp_path: Path) -> None:
    """Only its owner may read it, and there is nothing in it to steal."""
    data_dir = tmp_path / "new" / "data"
    key = "sk-very-secret-0123456789"
    ProbeCache(data_dir, {"CLOUD_KEY": key}).store([(CLOUD, probe_of(CLOUD))])

    file = data_dir / FILE_NAME

    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(data_dir.stat().st_mode) == 0o700
    assert key not in file.read_text()
    assert [path.name for path in data_dir.iterdir()] == [FILE_NAME]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
@given(keep=st.integers(0, 400), noise=st.binary(max_size=20))
def test_a_torn_file_is_an_empty_one(tmp_path: Path, keep: int, noise: bytes) -> None:
    """Wherever it was torn and whatever follows; the next store repairs it."""
    cache = ProbeCache(tmp_path, {})
    cache.clear()
    cache.store([(BOX, probe_of(BOX))])
    file = tmp_path / FILE_NAME
    whole = file.read_bytes()
    file.write_bytes(whole[: keep % len(whole)] + noise)

    assert cache.fresh([BOX], NOW_MS) == {}
    assert cache.store([(BOX, probe_of(BOX))])
    assert cache.fresh([BOX], NOW_MS) == {"box": probe_of(BOX)}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"null",
        b"[]",
        b'{"version": 99, "salt": "00", "entries": {}}',
        b'{"version": 1, "salt": "", "entries": {}}',
        b'{"version": 1, "salt": "00", "entries": {"box": {"target": "x", "probe": {"status": "great"}}}}',
        b'{"box": {"healthy": true}}',
        b"\xff\xfe",
    ],
)
def test_a_foreign_file_is_an_empty_one(tmp_path: Path, content: bytes) -> None:
    """Another program's, or another version's."""
    (tmp_path / FILE_NAME).write_bytes(content)
    cache = ProbeCache(tmp_path, {})

    assert cache.fresh([BOX], NOW_MS) == {}
    assert cache.store([(BOX, probe_of(BOX))])
    assert cache.fresh([BOX], NOW_MS)


async def test_without_a_place_to_write_it_still_answers(tmp_path: Path) -> None:
    """The file is a convenience."""
    (tmp_path / "file").write_text("in the way")
    cache = ProbeCache(tmp_path / "file" / "data", {})

    (result,) = await check_endpoints([BOX], Counting(), cache, NOW_MS)

    assert result.exit_code == 0
    assert cache.store([(BOX, result.probe)]) is False


def test_a_directory_in_its_place_does_not_break_it(tmp_path: Path) -> None:
    """And nothing is left lying around."""
    (tmp_path / FILE_NAME).mkdir()
    cache = ProbeCache(tmp_path, {})

    assert cache.store([(BOX, probe_of(BOX))]) is False
    assert [path.name for path in tmp_path.iterdir()] == [FILE_NAME]
