"""What the design of the fourteen agents claims about its three strategies, figure by figure as it was written.

Nothing here was measured. The accounts come twice: with swaps as its table of swaps has them (40, 40 and 25 seconds),
and rounded to tenths of a minute as in its summary. Of the dependency-based strategy only a total is stated.
"""

from ostler.planning.audit import Account, Claim, Figure, Step
from ostler.simulate.fourteen_agents import CODERS, CRITICAL, DECLARED, MINUTE_MS, REVIEWS, SECONDARY

SWAP_MS = {"quality to latest": 40_000, "latest to quality": 40_000, "quality to fast": 25_000}
ROUNDED_SWAP_MS = {"quality to latest": 42_000, "latest to quality": 42_000, "quality to fast": 24_000}


def _accounts(swap_ms: dict[str, int], totals_ms: tuple[int | None, int | None]) -> tuple[Account, Account]:
    def swap(name: str) -> Step:
        return Step(name=f"the swap from {name}", lasts_ms=swap_ms[name])

    def phase(name: str, minutes: int, tasks: tuple[str, ...], agents: int | None = None) -> Step:
        return Step(name=name, lasts_ms=minutes * MINUTE_MS, tasks=tasks, agents=agents)

    credentials = phase("phase 3", 3, ("credentials",), 1)
    sequential = Account(
        name="sequential",
        steps=(
            phase("phase 0", 3, ("chief-architect",)),
            swap("quality to latest"),
            phase("phase 1", 25, CODERS, 9),
            swap("latest to quality"),
            phase("phase 2", 15, REVIEWS, 4),
            swap("quality to fast"),
            credentials,
        ),
        total_ms=totals_ms[0],
    )
    hybrid = Account(
        name="hybrid",
        steps=(
            phase("phase 1a", 15, CRITICAL, 4),
            phase("phase 1b", 10, SECONDARY, 5),
            swap("latest to quality"),
            phase("phase 2", 15, REVIEWS, 3),
            swap("quality to fast"),
            credentials,
        ),
        total_ms=totals_ms[1],
    )
    return sequential, hybrid


SEQUENTIAL, HYBRID = _accounts(SWAP_MS, (None, None))
SEQUENTIAL_ROUNDED, HYBRID_ROUNDED = _accounts(ROUNDED_SWAP_MS, (2_868_000, 2_646_000))
CLAIMS = (
    Claim(name="sequential", order=DECLARED["model-first"], account=SEQUENTIAL),
    Claim(name="dependency", order=DECLARED["dependency-first"], total_ms=52 * MINUTE_MS),
    Claim(name="hybrid", order=DECLARED["hybrid"], account=HYBRID),
)
_LARGE_SWAP = "a swap between the large models"
FIGURES = (
    Figure(quantity=_LARGE_SWAP, where="table of swaps", least_ms=35_000, most_ms=45_000),
    Figure(quantity=_LARGE_SWAP, where="description of phase 2, about", least_ms=60_000, most_ms=60_000),
    Figure(quantity=_LARGE_SWAP, where="performance sums", least_ms=39_000, most_ms=45_000),
    Figure(quantity="a swap from large to small", where="table of swaps", least_ms=20_000, most_ms=30_000),
    Figure(
        quantity="a swap from large to small", where="description of phase 3, about", least_ms=30_000, most_ms=30_000
    ),
    Figure(quantity="a swap from large to small", where="performance sums", least_ms=21_000, most_ms=27_000),
    Figure(quantity="all swaps of the hybrid", where="added up", least_ms=65_000, most_ms=65_000),
    Figure(quantity="all swaps of the hybrid", where="as a total, about", least_ms=30_000, most_ms=90_000),
)
