"""Hubs of one pool and tokens of a hub, as the recording hub answers them."""

from ostler.domain.hubs import HubList, HubRow
from ostler.domain.tokens import KnownToken
from ostler.hub.views import TokenList
from tests.web.samples import NOW_MS

TOKENS = TokenList(
    tokens=(
        KnownToken(name="ci", scope="admin", created_ms=NOW_MS - 2 * 86_400_000),
        KnownToken(name="mac-mini", scope="worker", created_ms=NOW_MS),
    ),
    now_ms=NOW_MS,
)

HUBS = HubList(
    hubs=(
        HubRow(
            name="box:7433",
            url="http://box:7433",
            version="0.1.0",
            started_ms=NOW_MS,
            pool="lab",
            leads=True,
            up_ms=90_000,
            open_tasks=1234,
            running=17,
        ),
        HubRow(
            name="den:7433", url="http://den:7433", version="0.1.0", started_ms=NOW_MS, seen_ago_ms=2_000, pool="lab"
        ),
    ),
    pool="lab",
    others=(
        HubRow(
            name="mill:7433",
            url="http://mill:7433",
            version="0.0.9",
            started_ms=NOW_MS,
            pool="night",
            leads=True,
            up_ms=5_000,
        ),
        HubRow(name="weir:7433", url="http://weir:7433", version="0.1.0", started_ms=NOW_MS, pool="night"),
        HubRow(
            name="yew:7433", url="http://yew:7433", version="0.1.0", started_ms=NOW_MS, seen_ago_ms=90_000, pool="night"
        ),
    ),
)
