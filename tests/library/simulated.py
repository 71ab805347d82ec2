"""A simulated machine with models for programs that use the library, and a ladder that leads to it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.request import urlopen

from tests.e2e.process import Process, until

LADDER = """\
routing:
  tiers:
    local_cheap: {{provider: ollama, models: ["qwen2.5-coder:7b-instruct"], base_url: "{url}"}}
    local_strong: {{provider: ollama, models: ["qwen2.5-coder:7b-instruct"], base_url: "{url}"}}
"""


@contextmanager
def machine(folder: Path) -> Iterator[str]:
    """The address of a simulated machine that runs as long as this."""
    with Process(folder, "simulate-host", "--preset", "laptop", "--port", "0", "--speed", "100") as host:
        until(lambda: "answers at" in host.log.read_text(encoding="utf-8"), "the simulated machine answers")
        url = host.log.read_text(encoding="utf-8").split("answers at ")[1].split()[0]
        until(lambda: bool(urlopen(f"{url}/api/tags", timeout=5).read()), "it lists its models")  # noqa: S310 -- ours
        yield url


def ladder(folder: Path, url: str) -> Path:
    """A profile whose local tiers are on that machine."""
    path = folder / "ostler.yaml"
    path.write_text(LADDER.format(url=url), encoding="utf-8")
    return path
