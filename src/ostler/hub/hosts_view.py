"""Hosts and models as rows, read off the scheduler's books. O(endpoints x models + what is held + classes waiting)."""

from collections.abc import Iterable, Mapping

from ostler.domain.catalog import Catalog, EndpointKind, ModelSpec, Reach, Speeds
from ostler.domain.fleet import EndpointView, HeldPhase, ModelAt
from ostler.domain.managed import ModelQueue, ResidentView
from ostler.hub.fleet_views import Figure, HostRow, LoadFailure, ModelPlace, ModelRow, SpeedRow
from ostler.residency.measured import Estimate
from ostler.scheduling.books import Books
from ostler.scheduling.host_views import HostView, SpeedView, host_views, model_queues, speed_views
from ostler.scheduling.hosts import LOADABLE


def host_rows(books: Books, now_ms: int) -> tuple[HostRow, ...]:
    """Every host that is declared or has an endpoint, by name."""
    managed = {view.name: view for view in host_views(books, now_ms)}
    queues = model_queues(books, now_ms)
    by_host: dict[str, list[EndpointView]] = {name: [] for name in books.policy.catalog.hosts}
    for _, view in sorted(books.endpoints.views.items()):
        by_host.setdefault(view.spec.host, []).append(view)
    return tuple(
        _managed(books, managed[name], queues) if name in managed else _unmanaged(books, name, views)
        for name, views in sorted(by_host.items())
    )


def _managed(books: Books, view: HostView, queues: Iterable[ModelQueue]) -> HostRow:
    book = books.hosts.books[view.name]
    pinned = {name for name in (*book.spec.pinned, *book.pins) if book.is_pinned(name)}
    return HostRow(
        name=view.name,
        managed=True,
        endpoints=view.endpoints,
        total_bytes=book.spec.memory_bytes,
        reserve_bytes=view.reserve_bytes,
        used_bytes=view.used_bytes,
        free_bytes=max(0, view.memory_bytes - view.used_bytes),
        max_resident_models=view.max_resident_models,
        residents=view.residents,
        swap=view.swap,
        queues=tuple(queue for queue in queues if view.name in queue.hosts),
        failed=tuple(
            LoadFailure(model=name, message=view.failed[name], until_ms=view.failed_until_ms[name])
            for name in sorted(view.failed)
        ),
        pins=tuple(sorted(pinned)),
        since_start=view.since_start,
        last_hour=view.last_hour,
    )


def _unmanaged(books: Books, name: str, views: list[EndpointView]) -> HostRow:
    spec = books.policy.catalog.hosts.get(name)
    residents = [resident for view in views for resident in _listed(books, view)]
    return HostRow(
        name=name,
        managed=False,
        unmanaged_because=why_unmanaged(books.policy.catalog, name, views),
        endpoints=tuple(view.spec.name for view in views),
        total_bytes=None if spec is None else spec.memory_bytes,
        reserve_bytes=0 if spec is None else spec.reserve_bytes,
        residents=tuple(residents),
        pins=() if spec is None else tuple(sorted(spec.pinned)),
    )


def _listed(books: Books, view: EndpointView) -> Iterable[ResidentView]:
    """What an endpoint lists as loaded, where nobody keeps books."""
    for resident in view.residents or ():
        yield ResidentView(
            endpoint=view.spec.name,
            model=resident.model,
            context_tokens=resident.context_tokens,
            memory_bytes=resident.size_bytes,
            phase=HeldPhase.READY,
            busy=books.in_flight_by_model.get((view.spec.name, resident.model), 0),
            slots=view.slots,
            since_ms=None,
            used_ms=None,
            pinned=False,
        )


def why_unmanaged(catalog: Catalog, name: str, views: list[EndpointView]) -> str:
    """Why a host is left to its engines, and what would change that."""
    if not views:
        return "no endpoint of it is registered"
    if not any(view.spec.local for view in views):
        return "a cloud: nothing is loaded there"
    if not any(_may_load(view) for view in views):
        kinds = ", ".join(sorted({view.spec.kind.value for view in views}))
        return f"its endpoints ({kinds}) do not load on request; Ollama and llama.cpp's router do"
    if all(view.spec.reached_by is Reach.WORKER for view in views):
        return "only workers on it reach it, and they do not load: let it listen where the hub reaches it"
    spec = catalog.hosts.get(name)
    if spec is None or spec.memory_bytes is None:
        return f"its memory is not declared: 'hosts: {{{name}: {{memory: 64GiB}}}}' in the profile does"
    return "it has not said yet what it holds"


def _may_load(view: EndpointView) -> bool:
    """Whether it loads on request, as far as is known: a server of OpenAI's protocol does if it says what it holds."""
    return view.spec.kind is EndpointKind.OLLAMA or (view.spec.kind in LOADABLE and view.residents is not None)


def model_rows(books: Books, now_ms: int, ended: Mapping[str, tuple[int, int]]) -> tuple[ModelRow, ...]:
    """Every model of the profile or of an endpoint, by name. `ended`: model -> tasks that ended well and badly."""
    catalog = books.policy.catalog
    offered = {name for view in books.endpoints.views.values() for name in view.models}
    queues = {queue.model: queue for queue in model_queues(books, now_ms)}
    measured: dict[str, list[SpeedView]] = {}
    for view in speed_views(books):
        measured.setdefault(view.model, []).append(view)
    names = sorted({*catalog.models, *offered, *(name for tier in catalog.tiers for name in tier.models)})
    rows = []
    for name in names:
        spec, queue = catalog.models.get(name), queues.get(name)
        known = spec or ModelSpec(name=name)
        good, bad = ended.get(name, (0, 0))
        rows.append(
            ModelRow(
                name=name,
                aliases=known.aliases,
                tiers=tuple(tier.name for tier in catalog.tiers if name in tier.models),
                configured=spec is not None,
                context_tokens=known.context_tokens,
                memory_bytes=known.memory_bytes,
                input_usd_per_mtok=known.input_usd_per_mtok,
                output_usd_per_mtok=known.output_usd_per_mtok,
                capabilities=tuple(sorted(known.capabilities)) if known.capabilities is not None else None,
                speeds=known.speeds,
                places=tuple(_places(books, name)),
                measured=tuple(_speeds(view, known.speeds) for view in measured.get(name, ())),
                waiting=queue.waiting if queue is not None else 0,
                oldest_ms=queue.oldest_ms if queue is not None else None,
                succeeded=good,
                failed=bad,
            )
        )
    return tuple(rows)


def _places(books: Books, model: str) -> Iterable[ModelPlace]:
    for name, view in sorted(books.endpoints.views.items(), key=lambda item: (item[1].spec.host, item[0])):
        if not view.serves(model):
            continue
        at, book = ModelAt(name, model), books.hosts.of_endpoint(name)
        held = books.hosts.of(at)
        resident = next((one for one in view.residents or () if one.model == model), None)
        phase = held.phase if held is not None else HeldPhase.READY if resident is not None else None
        found = held if held is not None else resident
        size_bytes = resident.size_bytes if resident is not None else None
        yield ModelPlace(
            host=view.spec.host,
            endpoint=name,
            local=view.spec.local,
            phase=phase,
            context_tokens=found.context_tokens if found is not None else None,
            memory_bytes=books.hosts.sizes.get(at, size_bytes),
            busy=books.hosts.busy(at),
            pinned=book is not None and book.is_pinned(model),
        )


def _speeds(view: SpeedView, guess: Speeds) -> SpeedRow:
    return SpeedRow(
        host=view.host,
        context_tokens=view.context_tokens or None,
        load_ms=_figure(guess.load_s * 1000.0, view.load_ms),
        unload_ms=_figure(guess.unload_s * 1000.0, view.unload_ms),
        prefill_tokens_per_s=_figure(guess.prefill_tokens_per_s, view.prefill_tokens_per_s),
        decode_tokens_per_s=_figure(guess.decode_tokens_per_s, view.decode_tokens_per_s),
    )


def _figure(configured: float, seen: Estimate) -> Figure:
    return Figure(configured=configured, measured=seen if seen.samples else None)
