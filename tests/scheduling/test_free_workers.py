"""Sessions with a free slot, in order and by host: against a list that is sorted anew each time."""

from hypothesis import given
from hypothesis import strategies as st

from ostler.domain.fleet import HostReport, Session, WorkerOffer
from ostler.domain.tasks import TaskKind
from ostler.scheduling.free_workers import FreeWorkers
from ostler.scheduling.workers import Workers

HOSTS = {"s0": frozenset({"a"}), "s1": frozenset({"a", "b"}), "s2": frozenset({"b"}), "s3": frozenset({"c"})}


@given(st.lists(st.tuples(st.sampled_from(sorted(HOSTS)), st.integers(0, 3)), max_size=30))
def test_order_and_hosts_are_those_of_the_last_word(said: list[tuple[str, int]]) -> None:
    """Whatever was said before: most free slots first, then by name; none without a slot."""
    free, last = FreeWorkers(), dict[str, int]()
    for session_id, slots in said:
        free.put(session_id, slots, f"w-{session_id}", HOSTS[session_id])
        last[session_id] = slots
    there = {one: slots for one, slots in last.items() if slots}

    assert list(free.in_order()) == sorted(there, key=lambda one: (-there[one], one))
    assert len(free) == len(there)
    for host in "abc":
        assert dict(free.on(host)) == {
            one: (-slots, f"w-{one}", one) for one, slots in there.items() if host in HOSTS[one]
        }
    assert all((one in free) == (one in there) for one in HOSTS)


def joined(name: str, host: str, instance: str = "", *aliases: str) -> Session:
    """A session of a worker on a host."""
    offer = WorkerOffer(
        name=name, host=host, host_aliases=aliases, slots={TaskKind.CHAT: 1}, instance=instance, version="1"
    )
    return Session(id=f"s-{name}", offer=offer, joined_ms=0, renewed_ms=0)


def test_reports_are_the_newest_of_each_host_and_go_with_their_worker() -> None:
    """Two workers on one machine: the last word counts, and what the other one said stays when it goes."""
    workers = Workers()
    for session in (joined("one", "box", "", "box.lan"), joined("two", "box")):
        workers.join(session, 0)
    first, second = HostReport(host="box", at_ms=1), HostReport(host="box", at_ms=2)
    workers.reported("s-one", first)
    workers.reported("s-two", second)

    assert workers.reports == {"box": second, "box.lan": first}
    workers.leave("s-one")
    assert workers.reports == {"box": second}
    workers.leave("s-two")
    assert workers.reports == {}
    assert workers.leave("s-two") is None


def test_a_daemon_is_found_by_its_lasting_name_until_it_leaves() -> None:
    """Also when it comes back under another one."""
    workers = Workers()
    workers.join(joined("one", "box", "i-1"), 0)
    assert workers.of_instance("i-1") is workers.states["s-one"]
    workers.join(joined("one", "box", "i-2"), 1)
    assert workers.of_instance("i-1") is None
    assert workers.of_instance("i-2") is workers.states["s-one"]
    workers.leave("s-one")

    assert workers.of_instance("i-2") is None
    assert workers.of_instance("") is None


def test_a_worker_that_joins_again_elsewhere_is_not_found_where_it_was() -> None:
    """Its old host names are forgotten with its old offer."""
    workers = Workers()
    workers.join(joined("one", "box"), 0)
    workers.join(joined("one", "attic"), 1)
    free = workers._free[TaskKind.CHAT]

    assert (list(free.on("box")), list(free.on("attic"))) == ([], ["s-one"])
    assert len(free) == 1
