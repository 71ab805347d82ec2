"""Every store: worker sessions, registered endpoints and tokens."""

import pytest

from ostler.domain.allowances import Reported
from ostler.domain.commands import (
    Applied,
    Command,
    DropEndpoint,
    DropSession,
    DropToken,
    ForgetObservations,
    PutAllowances,
    PutEndpoint,
    PutMeasurements,
    PutObservations,
    PutPlan,
    PutSessions,
    PutToken,
    RefusalReason,
    Refused,
)
from ostler.domain.observations import ObservationQuery
from ostler.domain.ports import Store
from ostler.domain.tokens import KnownToken
from tests.store.rows_made import NOW_MS, make_endpoint, make_measurement, make_observation, make_plan, make_session


def put_token(name: str, token_hash: str, scope: str = "admin") -> PutToken:
    return PutToken(name=name, token_hash=token_hash, scope=scope, created_ms=NOW_MS)


async def test_sessions_are_put_renewed_and_dropped(store: Store) -> None:
    """A session comes back whole, oldest first; renewing replaces it; dropping it twice is fine."""
    first, second = make_session("s2", joined_ms=1), make_session("s1", joined_ms=2)
    renewed = make_session("s2", joined_ms=1, renewed_ms=NOW_MS + 5)

    await store.apply([PutSessions(sessions=(second, first))])
    assert (await store.open_work()).sessions == (first, second)

    await store.apply([PutSessions(sessions=(renewed,))])
    assert (await store.open_work()).sessions == (renewed, second)

    assert await store.apply([DropSession(session_id="s1")] * 2) == [Applied(), Applied()]
    assert (await store.open_work()).sessions == (renewed,)


async def test_sessions_that_joined_together_are_in_order_of_their_ids(store: Store) -> None:
    """The order of sessions depends on nothing but the sessions."""
    names = ["s3", "s1", "s2"]

    await store.apply([PutSessions(sessions=tuple(make_session(name) for name in names))])

    assert [session.id for session in (await store.open_work()).sessions] == sorted(names)


@pytest.mark.parametrize(
    ("commands", "left"),
    [
        ([PutSessions(sessions=(make_session("s1"),)), DropSession(session_id="s1")], []),
        ([DropSession(session_id="s1"), PutSessions(sessions=(make_session("s1"),))], ["s1"]),
        ([PutSessions(sessions=(make_session("s1"), make_session("s1", renewed_ms=9)))], ["s1"]),
    ],
)
async def test_the_last_word_on_a_session_wins(store: Store, commands: list[Command], left: list[str]) -> None:
    """Inside one batch the order of the commands decides."""
    await store.apply(commands)

    assert [session.id for session in (await store.open_work()).sessions] == left


async def test_endpoints_are_put_replaced_and_dropped(store: Store) -> None:
    """An endpoint comes back whole, by name; putting it again replaces it."""
    first, second = make_endpoint("b"), make_endpoint("a")
    replaced = make_endpoint("b", url="http://elsewhere:1")

    await store.apply([PutEndpoint(endpoint=first), PutEndpoint(endpoint=second)])
    assert (await store.open_work()).endpoints == (second, first)

    await store.apply([PutEndpoint(endpoint=replaced)])
    assert (await store.open_work()).endpoints == (second, replaced)

    assert await store.apply([DropEndpoint(name="b")]) == [Applied()]
    assert (await store.open_work()).endpoints == (second,)


async def test_an_unknown_endpoint_cannot_be_dropped(store: Store) -> None:
    """A person named it, so a wrong name is said; inside a batch each command sees the one before."""
    answers = await store.apply(
        [
            DropEndpoint(name="a"),
            PutEndpoint(endpoint=make_endpoint("a")),
            DropEndpoint(name="a"),
            DropEndpoint(name="a"),
            PutEndpoint(endpoint=make_endpoint("a", url="http://again:1")),
        ]
    )

    unknown = Refused(reason=RefusalReason.NOT_FOUND, message="no endpoint a was registered")
    assert answers == [unknown, Applied(), Applied(), unknown, Applied()]
    assert [endpoint.url for endpoint in (await store.open_work()).endpoints] == ["http://again:1"]


async def test_a_token_is_found_by_hash_and_scope(store: Store) -> None:
    """Neither another hash nor another scope finds it; a revoked token is nobody's."""
    await store.apply([put_token("laptop", "h1"), put_token("box", "h2", scope="worker")])

    assert await store.token_name("h1", "admin") == "laptop"
    assert await store.token_name("h1", "worker") is None
    assert await store.token_name("h2", "worker") == "box"
    assert await store.token_name("h3", "admin") is None

    assert await store.apply([DropToken(name="laptop")]) == [Applied()]
    assert await store.token_name("h1", "admin") is None


async def test_tokens_are_listed_by_name_and_never_with_their_hash(store: Store) -> None:
    """In one order in each store, whatever the letters; a revoked one is not there."""
    names = ("box", "Box", "b\u00e4r", "a b", "gone")
    await store.apply([put_token(name, f"h-{name}", scope="worker") for name in names])
    await store.apply([DropToken(name="gone")])

    listed = await store.tokens()

    assert listed == [
        KnownToken(name=name, scope="worker", created_ms=NOW_MS) for name in ("Box", "a b", "box", "b\u00e4r")
    ]
    assert "h-box" not in repr(listed)


async def test_a_name_means_one_token(store: Store) -> None:
    """The same token again is applied; another one under the name, or the name's one under another, is a conflict."""
    await store.apply([put_token("laptop", "h1")])

    answers = await store.apply(
        [
            put_token("laptop", "h1"),
            put_token("laptop", "h2"),
            put_token("laptop", "h1", scope="worker"),
            put_token("phone", "h1"),
        ]
    )

    reasons = [answer.reason if isinstance(answer, Refused) else None for answer in answers]
    assert reasons == [None, RefusalReason.CONFLICT, RefusalReason.CONFLICT, RefusalReason.CONFLICT]
    assert await store.token_name("h1", "admin") == "laptop"
    assert await store.token_name("h2", "admin") is None


async def test_a_name_can_be_given_again_after_it_was_revoked(store: Store) -> None:
    """Revoke and put in one batch: the old token is worthless, the new one is known."""
    await store.apply([put_token("laptop", "h1"), put_token("phone", "h2")])

    answers = await store.apply(
        [
            DropToken(name="laptop"),
            DropToken(name="phone"),
            put_token("laptop", "h2"),
            put_token("tablet", "h1"),
            DropToken(name="phone"),
        ]
    )

    unknown = Refused(reason=RefusalReason.NOT_FOUND, message="there is no token named phone")
    assert answers == [Applied(), Applied(), Applied(), Applied(), unknown]
    assert await store.token_name("h1", "admin") == "tablet"
    assert await store.token_name("h2", "admin") == "laptop"


async def test_measurements_are_put_and_replaced(store: Store) -> None:
    """What was measured comes back whole, by host and model; a newer row of a quantity replaces the older one."""
    first, second = make_measurement("b", "m"), make_measurement("a", "n")
    newer = make_measurement("b", "m", samples=7)

    assert await store.apply([PutMeasurements(measurements=(first, second))]) == [Applied()]
    assert (await store.open_work()).measurements == (second, first)

    await store.apply([PutMeasurements(measurements=(first,)), PutMeasurements(measurements=(newer,))])
    assert (await store.open_work()).measurements == (second, newer)


async def test_what_providers_report_is_put_and_replaced(store: Store) -> None:
    """By provider and window; the newest word on a window stands."""
    first = Reported(provider="plan", window="5h", used_percent=10.0, at_ms=NOW_MS, resets_ms=NOW_MS + 1, hours=5.0)
    second = Reported(provider="other", window="7d_opus", used_percent=99.5, at_ms=NOW_MS, family="opus")
    newer = Reported(provider="plan", window="5h", used_percent=1.0, at_ms=NOW_MS + 2)

    assert await store.apply([PutAllowances(reports=(first, second))]) == [Applied()]
    assert (await store.open_work()).allowances == (second, first)

    await store.apply([PutAllowances(reports=(first,)), PutAllowances(reports=(newer,))])
    assert (await store.open_work()).allowances == (second, newer)


async def test_observations_are_kept_once_in_their_order(store: Store) -> None:
    """They come back whole in the order in which they came; an id that is known stays as it is."""
    first, second = make_observation("z", "docs", "m"), make_observation("a", "bugfix", "m")
    changed = make_observation("z", "docs", "other")

    answers = await store.apply(
        [PutObservations(observations=(first, second)), PutObservations(observations=(changed,))]
    )

    assert answers == [Applied(), Applied()]
    assert await store.observations(ObservationQuery()) == [first, second]
    assert await store.observations(ObservationQuery(task_type="docs")) == [first]
    assert await store.observations(ObservationQuery(task_type="docs", model="other")) == []
    assert await store.observations(ObservationQuery(tier="simple")) == [first, second]


async def test_what_is_forgotten_is_gone_and_may_come_again(store: Store) -> None:
    """All that the query names and nothing else, in one flush with what comes before and after it."""
    first, second = make_observation("1", "docs", "m"), make_observation("2", "docs", "n")
    forget = ForgetObservations(which=ObservationQuery(model="m"))

    await store.apply([PutObservations(observations=(first, second)), forget])
    assert await store.observations(ObservationQuery()) == [second]

    await store.apply([PutObservations(observations=(first,))])
    assert await store.observations(ObservationQuery()) == [second, first]

    await store.apply([ForgetObservations(which=ObservationQuery())])
    assert await store.observations(ObservationQuery()) == []


async def test_single_observations_are_forgotten_by_their_ids(store: Store) -> None:
    """These alone, whatever else the query would name; an id that nobody knows changes nothing."""
    rows = [make_observation(name, "docs", "m") for name in ("1", "2", "3")]
    forget = ForgetObservations(which=ObservationQuery(model="m"), ids=("1", "3", "nobody"))

    await store.apply([PutObservations(observations=tuple(rows)), forget])
    assert await store.observations(ObservationQuery()) == [rows[1]]

    await store.apply([PutObservations(observations=tuple(rows))])
    assert await store.observations(ObservationQuery()) == [rows[1], rows[0], rows[2]]


async def test_a_store_does_not_know_versions(store: Store) -> None:
    """Who asks for one gets all, and looks for it; so that every store says the same."""
    one = make_observation("1", "docs", "m")
    await store.apply([PutObservations(observations=(one,))])
    assert await store.observations(ObservationQuery(model="m", version="other")) == [one]


async def test_versions_of_a_plan_are_kept_apart(store: Store) -> None:
    """Each version comes back whole, oldest first; other batches have their own; a repeated version is one version."""
    first, second = make_plan("r1", 1, '{"a":1}'), make_plan("r1", 2)
    other = make_plan("r2", 1)

    answers = await store.apply([PutPlan(plan=plan) for plan in (second, first, other, first)])

    assert answers == [Applied()] * 4
    assert await store.plans("r1") == [first, second]
    assert await store.plans("r2") == [other]
    assert await store.plans("never") == []
