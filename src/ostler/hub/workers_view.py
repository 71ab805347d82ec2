"""The joined workers as rows."""

import msgspec

from ostler.hub.pump import Pump
from ostler.hub.views import WorkerList, WorkerRow


def worker_list(pump: Pump) -> WorkerList:
    """All sessions by worker name."""
    books = pump.scheduler.books
    states = sorted(books.workers.states.values(), key=lambda state: state.session.offer.name)
    rows = tuple(
        WorkerRow(
            session=msgspec.structs.replace(
                state.session, renewed_ms=state.seen_ms, suspect_since_ms=state.suspect_since_ms
            ),
            busy={kind: count for kind, count in state.busy.items() if count},
            tasks=tuple(sorted(state.attempts)),
            report=state.report,
            lost_ms=state.seen_ms + books.lease_ms(state.session) if state.suspect else None,
        )
        for state in states
    )
    return WorkerList(workers=rows, now_ms=pump.clock.now_ms())
