"""`make simulate`: play many seeds, tell what went wrong, replay one, or make it smaller.

python -m tests.simulator --seeds 200            seeds 0 to 199
python -m tests.simulator --seed 134             one, with its story
python -m tests.simulator --seed 134 --shrink    and the smallest story that is still wrong
"""

import argparse
import logging
import sys
import time

import structlog

from tests.simulator.shrink import shrunk
from tests.simulator.story import Story, draw
from tests.simulator.world import live


def say(line: object) -> None:
    """Tell the person who asked."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main() -> int:
    """The exit status: 0 = nothing was wrong."""
    cli = argparse.ArgumentParser(description="Play seeds of the simulated world.")
    cli.add_argument("--seeds", type=int, default=100, help="how many, from --first on")
    cli.add_argument("--first", type=int, default=0)
    cli.add_argument("--seed", type=int, help="this one alone, with its story")
    cli.add_argument("--jobs", type=int, default=24)
    cli.add_argument("--faults", type=int, default=10)
    cli.add_argument("--shrink", action="store_true", help="look for the smallest story that is still wrong")
    told = cli.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    if told.seed is not None:
        return _one(draw(told.seed, jobs=told.jobs, faults=told.faults), shrink=told.shrink)
    began, wrong, played = time.monotonic(), 0, 0
    for seed in range(told.first, told.first + told.seeds):
        seen = live(draw(seed, jobs=told.jobs, faults=told.faults))
        played += 1
        if seen.wrong:
            wrong += 1
            say(f"seed {seed}: {'; '.join(seen.wrong[:3])}")
    took_s = time.monotonic() - began
    say(f"{played} seeds in {took_s:.0f} s, {wrong} wrong; python -m tests.simulator --seed N --shrink looks at one")
    return 1 if wrong else 0


def _one(story: Story, *, shrink: bool) -> int:
    if shrink and live(story).wrong:
        story = shrunk(story, lambda candidate: bool(live(candidate).wrong))
    for fault in story.faults:
        say(fault)
    for job in story.jobs:
        say(f"{job.at_s:7.2f} s  {job}")
    seen = live(story)
    say(f"{seen.commits} commits, {seen.hubs} hubs, {seen.starts} starts, over after {seen.until_s:.0f} s")
    for line in seen.wrong or ("nothing was wrong",):
        say(line)
    return 1 if seen.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
