"""The ground of a run: sites by endpoint, prices, and the books of each job."""

import msgspec
import pytest

from ostler.domain.catalog import EndpointSpec
from ostler.domain.errors import InvalidInputError
from ostler.domain.policy import Policy
from ostler.domain.states import FailureClass
from ostler.simulate.virtual.fleet import fleet_of
from ostler.simulate.virtual.ground import Ground, check_outages
from ostler.simulate.virtual.jobs import Job, facts_of
from ostler.simulate.virtual.records import Outage, Setting
from tests.simulate.virtual.worlds import GB, endpoint, job, policy


class Nobody:
    """A customer that does not listen."""

    def began(self, number: int) -> None:
        pass

    def ended(self, number: int) -> None:
        pass

    def failed(self, number: int, kind: FailureClass, message: str, retry_after_ms: int | None) -> None:
        pass

    def unloaded(self, site: str, model: str) -> None:
        pass


def ground_of(rules: Policy, setting: Setting | None = None) -> Ground:
    ground = Ground(fleet_of(rules), rules, setting or Setting())
    ground.furnish(Nobody())
    return ground


def with_endpoint(rules: Policy, spec: EndpointSpec) -> Policy:
    catalog = rules.catalog
    endpoints = {**catalog.endpoints, spec.name: spec}
    return msgspec.structs.replace(rules, catalog=msgspec.structs.replace(catalog, endpoints=endpoints))


def test_endpoints_of_one_host_share_its_machine() -> None:
    """Two servers on one machine have one memory."""
    second = msgspec.structs.replace(endpoint("box"), name="second", url="http://box:8080")
    ground = ground_of(with_endpoint(policy(), second))

    assert ground.site_of("second") is ground.site_of("box-ollama")
    assert ground.machines()["box"].spec.capacity_bytes == 24 * GB


def test_a_cloud_is_found_by_its_endpoint() -> None:
    """And is no machine."""
    ground = ground_of(policy(cloud=True))

    assert ground.site_of("sky").name == "sky"
    assert list(ground.machines()) == ["box"]


def test_instants_count_from_the_start() -> None:
    """Of the workload, whatever the virtual clock shows."""
    ground = ground_of(policy())
    seen: list[int] = []
    ground.timeline.at(ground.instant(1_500), lambda: seen.append(ground.offset_ms))
    ground.timeline.step()

    assert seen == [1_500]


def test_only_cloud_calls_cost_and_each_of_them() -> None:
    """A job that was tried twice in a cloud paid twice."""
    ground = ground_of(policy(cloud=True))
    here = job("a")
    there = Job(spec=job("b", "claude").spec, prompt_tokens=1_000, output_tokens=100)
    ground.enter([here, there])

    ground.charge(here, facts_of(here, ground.policy), "box-ollama", "big")
    for _ in range(2):
        ground.charge(there, facts_of(there, ground.policy), "sky", "claude")

    assert ground.endings["a"].cost_micro_usd == 0
    assert ground.endings["b"].cost_micro_usd == 2 * (1_000 + 1_000)


def test_a_cost_that_is_unknown_once_stays_unknown() -> None:
    """What is added to the unknown is unknown."""
    ground = ground_of(policy(cloud=True))
    there = Job(spec=job("b", "claude").spec, prompt_tokens=1_000, output_tokens=100)
    ground.enter([there])
    ground.charge(there, facts_of(there, ground.policy), "sky", "nobody-knows")
    ground.charge(there, facts_of(there, ground.policy), "sky", "claude")

    assert ground.endings["b"].cost_micro_usd is None


def test_a_run_is_over_when_every_job_has_ended() -> None:
    """Not before; the run names its policy and its fleet."""
    ground = ground_of(policy())
    ground.enter([job("a"), job("b")])
    over = [ground.all_ended]
    for name, state in (("a", "succeeded"), ("b", "failed")):
        ground.end(name, state, "because")
        over.append(ground.all_ended)

    assert over == [False, False, True]
    run = ground.run("mine", rival=True)
    assert (run.policy, run.fleet, run.rival) == ("mine", "test", True)
    assert (run.endings["b"].state, run.endings["b"].reason) == ("failed", "because")
    assert list(run.sites) == ["box"]


def test_outages_must_be_of_something() -> None:
    """A host or a cloud endpoint of the fleet."""
    fleet = fleet_of(policy(cloud=True))
    check_outages([Outage(site="box", from_ms=0), Outage(site="sky", from_ms=0)], fleet)

    with pytest.raises(InvalidInputError) as refused:
        check_outages([Outage(site="box-ollama", from_ms=0)], fleet)
    assert refused.value.where == "--outage"
