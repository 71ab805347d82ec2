"""Hubs of one pool, as the recording hub answers them."""

from ostler.domain.hubs import HubList, HubRow
from tests.web.samples import NOW_MS

HUBS = HubList(
    hubs=(
        HubRow(name="box:7433", url="http://box:7433", version="0.1.0", started_ms=NOW_MS, leads=True, up_ms=90_000),
        HubRow(name="den:7433", url="http://den:7433", version="0.1.0", started_ms=NOW_MS, seen_ago_ms=2_000),
    ),
    pool="lab",
)
