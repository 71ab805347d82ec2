"""The timeline: what happens when."""

from ostler.simulate.virtual.timeline import START_MS, Timeline


def test_things_happen_in_the_order_of_their_instants() -> None:
    """Whatever order they were entered in."""
    timeline, seen = Timeline(), list[tuple[str, int]]()
    for name, offset_ms in (("late", 30), ("early", 10), ("middle", 20)):
        timeline.at(START_MS + offset_ms, lambda name=name: seen.append((name, timeline.time_ms)))  # type: ignore[misc]

    while timeline.step():
        pass

    assert seen == [("early", START_MS + 10), ("middle", START_MS + 20), ("late", START_MS + 30)]


def test_things_of_one_instant_keep_their_order() -> None:
    """First entered, first done: so that equal inputs give equal runs."""
    timeline, seen = Timeline(), list[int]()
    for number in range(20):
        timeline.at(START_MS + 5, lambda number=number: seen.append(number))  # type: ignore[misc]

    while timeline.step():
        pass

    assert seen == list(range(20))


def test_time_never_goes_back() -> None:
    """What is entered for the past happens now."""
    timeline, seen = Timeline(), list[int]()
    timeline.at(START_MS + 100, lambda: timeline.at(START_MS + 1, lambda: seen.append(timeline.time_ms)))

    while timeline.step():
        pass

    assert seen == [START_MS + 100]


def test_an_empty_timeline_says_so() -> None:
    """And its clock shows where it stands; thinking takes no time."""
    timeline = Timeline(500)

    assert not timeline.step()
    assert (timeline.now_ms(), timeline.stopwatch_us(), len(timeline)) == (500, 0, 0)
