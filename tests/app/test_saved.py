"""The comparison with first-in-first-out knows only what it has to."""

from msgspec.structs import replace

from ostler.app.comparing import saved_by
from ostler.domain.catalog import ModelSpec
from ostler.domain.fleet import EndpointView
from ostler.domain.ports import TaskDetail
from tests.simulate.virtual.pasts import past
from tests.simulate.virtual.worlds import policy


def test_a_model_that_nobody_used_need_not_have_a_size() -> None:
    """An engine lists much that no profile describes; that must not keep its past from being compared."""
    rules = policy(slots=1)
    catalog = replace(rules.catalog, models={**rules.catalog.models, "huge": ModelSpec(name="huge")})
    views = [
        EndpointView(spec=spec, models=frozenset({*rules.catalog.models, "huge", "listed-only"}))
        for spec in catalog.endpoints.values()
    ]
    history = [past("a", began_ms=90_000, work_ms=60_000), past("b", began_ms=200_000, work_ms=60_000)]
    details = [
        TaskDetail(task=one.task, spec=one.spec, attempts=(one.attempt,), decisions=(), events=(), output="x")
        for one in history
        if one.attempt is not None
    ]

    assert saved_by(details, replace(rules, catalog=catalog), views).tasks == 2
