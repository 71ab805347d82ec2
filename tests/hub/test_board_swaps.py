"""What waits for a model on a managed host, and until when: the load that is under way, or the end of patience."""

import pytest

from ostler.domain.fleet import GIB, HeldPhase
from ostler.domain.managed import Counts, ModelQueue, ResidentView, SwapView
from ostler.domain.states import Wait, WaitCode
from ostler.hub.board import _due
from ostler.hub.views import WaitGroup
from ostler.scheduling.host_views import HostView


def host(name: str, *, loading: str = "", ready_ms: int = 0, kind: str = "load") -> HostView:
    swap = SwapView(
        kind=kind, endpoint=name, model=loading, evict=(), reason="", since_ms=0, begun=True, ready_ms=ready_ms
    )
    resident = ResidentView(
        endpoint=name,
        model="other",
        context_tokens=None,
        memory_bytes=GIB,
        phase=HeldPhase.READY,
        busy=0,
        since_ms=None,
        used_ms=None,
        pinned=False,
    )
    return HostView(
        name=name,
        endpoints=(name,),
        memory_bytes=32 * GIB,
        used_bytes=GIB,
        reserve_bytes=0,
        max_resident_models=None,
        residents=(resident,),
        swap=swap if loading else None,
        failed={},
        failed_until_ms={},
        since_start=Counts(),
        last_hour=Counts(),
    )


def queue(model: str, patience_ends_ms: int | None) -> ModelQueue:
    return ModelQueue(model=model, waiting=1, oldest_ms=0, hosts=("box",), patience_ends_ms=patience_ends_ms)


def group(detail: str, code: WaitCode = WaitCode.MODEL_SWAP, next_check_ms: int | None = None) -> WaitGroup:
    wait = Wait(code=code, since_ms=0, detail=detail, next_check_ms=next_check_ms)
    return WaitGroup(wait=wait, count=3, tier="local", example="t")


SWAP = "qwen is to be loaded on box instead of llama (tier local)"


def test_a_load_that_is_under_way_says_about_when() -> None:
    """The first of several hosts that load it."""
    hosts = [host("box", loading="qwen", ready_ms=9_000), host("mac", loading="qwen", ready_ms=7_000)]

    assert _due(hosts, [queue("qwen", 50_000)], group(SWAP)) == (7_000, "about")


@pytest.mark.parametrize(
    "busy", [host("box", loading="llama", ready_ms=9_000), host("box", loading="qwen", kind="unload")]
)
def test_another_change_of_memory_is_not_the_one_that_is_waited_for(busy: HostView) -> None:
    """The end of patience is the latest then: the bound that the scheduler keeps."""
    assert _due([busy], [queue("llama", 1_000), queue("qwen", 50_000)], group(SWAP)) == (50_000, "latest")


def test_a_reason_with_its_own_time_is_believed() -> None:
    """A provider said when to come back."""
    quota = group("anthropic said so", WaitCode.QUOTA_UNTIL, next_check_ms=4_000)

    assert _due([host("box", loading="qwen", ready_ms=9_000)], [], quota) == (4_000, "at")


@pytest.mark.parametrize("code", [WaitCode.DEPS, WaitCode.CAPACITY, WaitCode.NO_WORKER])
def test_what_waits_for_an_event_has_no_countdown(code: WaitCode) -> None:
    """Rather than a guess."""
    assert _due([host("box", loading="qwen", ready_ms=9_000)], [queue("qwen", 5)], group("qwen", code)) == (None, "")


def test_a_model_that_nobody_loads_or_queues_for_has_none_either() -> None:
    """And nothing breaks where the words name no model."""
    assert _due([], [], group(SWAP)) == (None, "")
    assert _due([host("box")], [queue("qwen", None)], group("")) == (None, "")
