"""Alerts over a running hub: the rules and places of the profile, obeyed at once when it changes."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from aiohttp import web
from msgspec.structs import replace
from structlog.testing import capture_logs

from ostler.app.alert_parts import AlertParts
from ostler.config.load import load_text
from ostler.config.settings import LoadedProfile
from ostler.config.sources import Source
from ostler.domain.tasks import TaskKind, TaskSpec
from ostler.hub.alert_views import AlertNote
from tests.hub.house import House, house

COMMAND = TaskSpec(id="t", kind=TaskKind.COMMAND, argv=("true",))


def profile(text: str, tmp_path: Path) -> LoadedProfile:
    source = Source(path=tmp_path / "ostler.yaml", label="ostler.yaml", name="stable")
    return load_text(text, source, {"HOME": str(tmp_path)}, tmp_path)


@asynccontextmanager
async def hook() -> AsyncIterator[tuple[str, list[dict[str, object]], list[str]]]:
    """An address, what it was sent, and the signatures."""
    said: list[dict[str, object]] = []
    signed: list[str] = []

    async def take(request: web.Request) -> web.Response:
        said.append(json.loads(await request.read()))
        signed.append(request.headers.get("Ostler-Signature", ""))
        return web.Response(status=204)

    app = web.Application()
    app.router.add_post("/hook", take)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    try:
        yield f"http://{host}:{port}/hook", said, signed
    finally:
        await runner.cleanup()


async def alarmed(built: House) -> None:
    """Have the hub raise an alert, and acknowledge nothing."""
    await built.hub.submit([COMMAND])
    await built.hub.alerts.look()


async def test_a_webhook_of_the_profile_is_told_and_signed_with_the_secret_it_names(tmp_path: Path) -> None:
    """From the YAML to the request: address, secret and profile's name."""
    async with house() as built, hook() as (url, said, signed):
        text = f"alerts: {{webhooks: {{ops: {{url: '{url}', secret_env: HOOK}}}}, rules: {{no_worker: {{for: 0s}}}}}}\n"
        parts = AlertParts(built.hub.alerts, profile(text, tmp_path), {"HOOK": "s3cret"})
        await alarmed(built)
        await parts.stop()

    assert [(one["event"], one["id"], one["hub"]) for one in said] == [("alert.raised", "no_worker", "stable")]
    assert signed[0].startswith("t=")


async def test_a_secret_that_is_not_set_is_told_of_at_once(tmp_path: Path) -> None:
    """Not when the first alert is refused by whoever checks signatures."""
    text = "alerts: {webhooks: {ops: {url: 'http://127.0.0.1:9/', secret_env: HOOK}}}\n"
    async with house() as built:
        with capture_logs() as lines:
            parts = AlertParts(built.hub.alerts, profile(text, tmp_path), {})
        await parts.stop()

    assert [(line["webhook"], line["unset"]) for line in lines] == [("ops", "HOOK")]


async def test_a_changed_profile_is_obeyed_at_once(tmp_path: Path) -> None:
    """Rules and places; what the old rules raised is cleared by the next look."""
    async with house() as built:
        desk = built.hub.alerts
        parts = AlertParts(desk, profile("alerts: {rules: {no_worker: {for: 0s}}}\n", tmp_path), {})
        await alarmed(built)
        assert [row.id for row in (await desk.alerts()).alerts] == ["no_worker"]

        parts.follow(profile("alerts: {log: false, rules: {no_worker: {enabled: false}}}\n", tmp_path))
        await desk.look()

        answer = await desk.alerts()
        assert answer.alerts == ()
        assert next(row.rule for row in answer.rules if row.name == "no_worker") is None
        assert (await desk.test()).places == ()
        await parts.stop()


async def test_the_log_is_told_without_any_setting(tmp_path: Path) -> None:
    """A warning when it is raised; acknowledging says nothing more; information when it is over."""
    quick = "alerts: {rules: {no_worker: {for: 0s}}}\n"
    async with house() as built:
        desk = built.hub.alerts
        parts = AlertParts(desk, profile(quick, tmp_path), {})
        with capture_logs() as lines:
            await alarmed(built)
            await desk.acknowledge(AlertNote(id="no_worker"))
            await desk.look()
            desk.obey = replace(desk.obey, rules={})
            await desk.look()
            await parts.stop()

    told = [(line["log_level"], line["alert_event"]) for line in lines if "alert_event" in line]
    assert told == [("warning", "alert.raised"), ("info", "alert.cleared")]


async def test_a_test_names_every_place_of_the_profile(tmp_path: Path) -> None:
    """In order: log, desktop, webhooks by name; nothing is raised by it."""
    text = "alerts: {desktop: true, webhooks: {b: {url: 'http://127.0.0.1:9/'}, a: {url: 'http://127.0.0.1:9/'}}}\n"
    async with house() as built:
        parts = AlertParts(built.hub.alerts, profile(text, tmp_path), {})
        answer = await built.hub.alerts.test()
        await parts.stop()

    assert [place.to for place in answer.places] == ["log", "desktop", "webhook a", "webhook b"]
    assert answer.places[0].outcome == "told"
    assert {place.outcome for place in answer.places[2:]} == {"failed"}
