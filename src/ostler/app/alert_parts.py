"""Alerts put together over a running hub: the rules of the profile, and the places that it names."""

from collections.abc import Mapping

import structlog

from ostler.config.settings import LoadedProfile
from ostler.domain.alerts import Alert
from ostler.hub.alert_desk import AlertDesk, AlertRules
from ostler.hub.alert_views import Delivered
from ostler.telemetry.delivery import AlertDelivery, DesktopPlace, LogPlace, Place, webhooks


class AlertParts:
    """Delivery of a hub's alerts. `stop` it before the hub."""

    def __init__(self, desk: AlertDesk, profile: LoadedProfile, env: Mapping[str, str]) -> None:
        self._desk = desk
        self._env = env
        self.delivery = AlertDelivery(desk.undelivered, profile.policy.profile)
        desk.delivery = _Port(self.delivery)
        self.follow(profile)

    def follow(self, profile: LoadedProfile) -> None:
        """Obey a profile, now and when it has changed."""
        settings = profile.alerts
        self._desk.obey = AlertRules(
            rules=profile.alert_rules, every_ms=settings.every_ms, start_after_ms=settings.start_after_ms
        )
        places: list[Place] = [LogPlace()] if settings.log else []
        if settings.desktop:
            places.append(DesktopPlace())
        named = {}
        for name, hook in settings.webhooks.items():
            secret = self._env.get(hook.secret_env, "") if hook.secret_env is not None else ""
            if hook.secret_env is not None and not secret:
                structlog.get_logger("ostler.alerts").warning(
                    "a webhook is not signed", webhook=name, unset=hook.secret_env
                )
            named[name] = (hook.url or "", secret, hook.least)
        self.delivery.use([*places, *webhooks(named, self.delivery.session)])

    async def stop(self) -> None:
        """Tell what waits. Safe to repeat."""
        await self.delivery.stop()


class _Port:
    """The delivery as the hub knows it."""

    def __init__(self, delivery: AlertDelivery) -> None:
        self._delivery = delivery
        self.tell = delivery.tell

    async def test(self, alert: Alert) -> list[Delivered]:
        """See `hub.alert_desk.Delivery`."""
        return [
            Delivered(to=went.to, outcome="told" if went.told else "failed", detail=went.detail)
            for went in await self._delivery.test(alert)
        ]
