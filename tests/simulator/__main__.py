"""`make simulate`: play many seeds, tell what went wrong, replay one, or make it smaller.

python -m tests.simulator --seeds 200            seeds 0 to 199, each in both worlds
python -m tests.simulator --seed 134             one, with its story
python -m tests.simulator --seed 134 --shrink    and the smallest story that is still wrong
"""

import argparse
import logging
import sys
import time
from collections.abc import Callable

import structlog

from tests.simulator.playing import live
from tests.simulator.shrink import shrunk
from tests.simulator.story import Story, draw
from tests.simulator.virtual_loop import StuckError
from tests.simulator.whole_story import draw_whole

WORLDS: dict[str, Callable[..., Story]] = {"plain": draw, "whole": draw_whole}
TELL_EVERY_S = 60.0


def say(line: object) -> None:
    """Tell the person who asked."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main() -> int:
    """The exit status: 0 = nothing was wrong."""
    cli = argparse.ArgumentParser(description="Play seeds of the simulated worlds.")
    cli.add_argument("--seeds", type=int, default=100, help="how many, from --first on")
    cli.add_argument("--first", type=int, default=0)
    cli.add_argument("--seed", type=int, help="this one alone, with its story")
    cli.add_argument("--world", choices=("both", *WORLDS), default="both", help="one hub alone, or everything")
    cli.add_argument("--tasks", type=int, default=24, help="how many a story has")
    cli.add_argument("--faults", type=int, default=12, help="how many a story has")
    cli.add_argument("--shrink", action="store_true", help="look for the smallest story that is still wrong")
    told = cli.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)  # what dies with a process is retrieved by nobody
    worlds = list(WORLDS) if told.world == "both" else [told.world]
    if told.seed is not None:
        stories = [WORLDS[world](told.seed, jobs=told.tasks, faults=told.faults) for world in worlds]
        return max(_one(story, shrink=told.shrink) for story in stories)
    began = told_s = time.monotonic()
    wrong = 0
    for played, seed in enumerate(range(told.first, told.first + told.seeds)):
        if time.monotonic() - told_s > TELL_EVERY_S:
            told_s = time.monotonic()
            say(f"... {played} seeds, {wrong} wrong")
        for world in worlds:
            problems = _wrong(WORLDS[world](seed, jobs=told.tasks, faults=told.faults))
            if problems:
                wrong += 1
                say(f"seed {seed} of the {world} world: {'; '.join(problems[:3])}")
    took_s = time.monotonic() - began
    say(f"{told.seeds} seeds from {told.first} on ({' and '.join(worlds)}) in {took_s:.0f} s, {wrong} wrong")
    say("python -m tests.simulator --world whole --seed N --shrink looks at one")
    return 1 if wrong else 0


def _wrong(story: Story) -> tuple[str, ...]:
    try:
        return live(story).wrong
    except StuckError as error:
        return (str(error),)


def _one(story: Story, *, shrink: bool) -> int:
    if shrink and _wrong(story):
        story = shrunk(story, lambda candidate: bool(_wrong(candidate)))
    for fault in story.faults:
        say(fault)
    told = [(item.at_s, repr(item)) for items in (story.jobs, story.calls, story.acts) for item in items]
    for at_s, text in sorted(told):
        say(f"{at_s:7.2f} s  {text}")
    seen = live(story)
    say(f"{seen.commits} commits, {seen.hubs} hubs, {seen.starts} starts, over after {seen.until_s:.0f} s")
    say(f"trail {seen.trail}")
    for line in seen.wrong or ("nothing was wrong",):
        say(line)
    return 1 if seen.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
