"""Makes the table of list prices that comes with Ostler, `src/ostler/budget/prices.json`, from data of `genai-prices`.

A program for developers: install that package (MIT licence) into an environment of its own and run this with its
Python. Nothing of it is needed at run time. Kept are models of the providers below that are priced by the token: input,
output, caches, reasoning, the share of a batch, and the prices of long prompts, as they hold on the day of the table.
Of retired models nothing is kept.

    python scripts/prices.py --dated 2026-11-29 src/ostler/budget/prices.json
"""

import argparse
import json
from datetime import UTC, datetime
from decimal import Decimal
from importlib.metadata import version
from pathlib import Path
from typing import Any

PROVIDERS = (
    "anthropic", "cerebras", "cohere", "deepseek", "fireworks", "google", "groq", "minimax", "mistral", "moonshotai",
    "openai", "perplexity", "together", "x-ai", "zai",
)  # fmt: skip
KINDS = {
    "input": "input_mtok",
    "output": "output_mtok",
    "cache_read": "cache_read_mtok",
    "cache_write": "cache_write_mtok",
    "reasoning": "output_reasoning_mtok",
}
LICENCE = "Prices from genai-prices, copyright Pydantic Services Inc., MIT licence"


def base_of(price: Any) -> float | None:  # noqa: ANN401 - a type of the package this reads
    """The price without tiers."""
    value = getattr(price, "base", price)
    return float(value) if isinstance(value, Decimal | int | float) else None


def steps_of(prices: dict[str, Any]) -> list[dict[str, float]]:
    """Prices of long prompts, by the length they begin above."""
    steps: dict[int, dict[str, float]] = {}
    for kind, key in KINDS.items():
        for tier in getattr(prices.get(key), "tiers", ()) if kind != "reasoning" else ():
            steps.setdefault(tier.start, {})[kind] = float(tier.price)
    return [{"above_tokens": start, **steps[start]} for start in sorted(steps)]


def batch_percent(model: Any, prices: dict[str, Any]) -> int | None:  # noqa: ANN401 - as above
    """What a batch costs of the usual price, where it is one share for input and output."""
    for variant in model.price_variants or ():
        if variant.when != {"processing": "batch"}:
            continue
        shares = {
            round(100 * batch / usual)
            for key in ("input_mtok", "output_mtok")
            if (batch := base_of(variant.prices.__dict__.get(key))) and (usual := base_of(prices.get(key)))
        }
        return shares.pop() if len(shares) == 1 else None
    return None


def names_of(match: Any) -> list[str]:  # noqa: ANN401 - as above
    """Names in a rule of the package that ours can follow: equal, or beginning with."""
    if hasattr(match, "or_"):
        return [name for part in match.or_ for name in names_of(part)]
    return [name for key in ("equals", "starts_with") if (name := getattr(match, key, None))]


def model_row(model: Any, at: datetime) -> dict[str, Any] | None:  # noqa: ANN401 - as above
    """A model as the table has it; `None` when it is retired or has no price by the token."""
    prices = {key: value for key, value in model.get_prices(at).__dict__.items() if value is not None}
    price: dict[str, Any] = {kind: base_of(prices.get(key)) for kind, key in KINDS.items()}
    if model.deprecated or price["input"] is None or price["output"] is None:
        return None
    price = {kind: value for kind, value in price.items() if value is not None}
    if steps := steps_of(prices):
        price["long"] = steps
    if (share := batch_percent(model, prices)) is not None:
        price["batch_percent"] = share
    row: dict[str, Any] = {"price": price}
    if model.context_window:
        row["context_tokens"] = model.context_window
    if aliases := sorted({name.rstrip("-") for name in names_of(model.match)} - {model.id}):
        row["aliases"] = aliases
    return row


def table(dated: str) -> dict[str, Any]:
    """The whole table."""
    from genai_prices.data import providers  # noqa: PLC0415 - in an environment of its own

    at = datetime.fromisoformat(dated).replace(tzinfo=UTC)
    kept = {provider.id: provider for provider in providers if provider.id in PROVIDERS}
    return {
        "dated": dated,
        "source": f"genai-prices {version('genai-prices')}",
        "licence": LICENCE,
        "providers": {
            name: {
                model.id: row
                for model in sorted(kept[name].models, key=lambda model: str(model.id))
                if (row := model_row(model, at)) is not None
            }
            for name in sorted(kept)
        },
    }


def text_of(made: dict[str, Any]) -> str:
    """One model a line, so that a change of a price is a line of a diff."""
    lines = [f'"{key}": {json.dumps(made[key])},' for key in ("dated", "source", "licence")]
    lines.append('"providers": {')
    for number, (name, models) in enumerate(made["providers"].items(), 1):
        rows = [f"  {json.dumps(model)}: {json.dumps(row)}" for model, row in models.items()]
        lines.append(
            f" {json.dumps(name)}: {{\n" + ",\n".join(rows) + "\n }" + ("," if number < len(made["providers"]) else "")
        )
    return "{\n" + "\n".join(lines) + "\n}\n}\n"


def main() -> None:
    """Write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("target", type=Path)
    parser.add_argument("--dated", default=datetime.now(tz=UTC).date().isoformat(), help="the day the prices hold on")
    arguments = parser.parse_args()
    made = table(arguments.dated)
    arguments.target.write_text(text_of(made), encoding="utf-8")
    print(f"{sum(map(len, made['providers'].values()))} models of {len(made['providers'])} providers")


if __name__ == "__main__":
    main()
