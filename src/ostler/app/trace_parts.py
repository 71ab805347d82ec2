"""Traces put together over a running hub, where the profile names a receiver."""

from collections.abc import Mapping

from ostler.config.observing import TelemetrySettings
from ostler.domain.live import GatewayKey
from ostler.domain.trace import Trace, attempt_span, own_trace, parse
from ostler.hub.attempt_keys import PREFIX
from ostler.hub.pump import Pump
from ostler.telemetry.exporter import SpanExporter
from ostler.telemetry.metering import Metering
from ostler.telemetry.spans import spans_of, trace_of


class TraceParts:
    """Traces of a hub. Without a receiver it does nothing. `stop` it after the hub's last word is durable."""

    def __init__(self, pump: Pump, settings: TelemetrySettings, metering: Metering, env: Mapping[str, str]) -> None:
        self._books = pump.scheduler.books
        self.exporter: SpanExporter | None = None
        if settings.traces_url is None:
            return
        self.exporter = exporter = SpanExporter(
            settings.traces_url,
            settings.traces_service,
            env=env,
            count=lambda end, number: metering.meters.count("ostler_spans_total", end, by=number),
        )
        pump.traces = True
        pump.observers.append(lambda applied: exporter.add(spans_of(applied, self._provider_of)))
        exporter.start()

    def trace_of(self, call_id: str, key: GatewayKey | None, said: str) -> Trace | None:
        """The trace of a live call: its caller's own, that of the attempt whose key it has, or one of its own."""
        trace = parse(said) if said else None
        if trace is not None or self.exporter is None:
            return trace
        if key is not None and key.name.startswith(PREFIX):
            task = self._books.tasks.get(key.task)
            above = trace_of(task) if task is not None else own_trace(key.task)
            generation = key.name.rpartition(".")[2]
            if generation.isdecimal():
                return Trace(trace_id=above.trace_id, parent_id=attempt_span(key.task, int(generation)))
        return own_trace(call_id)

    async def stop(self) -> None:
        """Send what waits. Safe to repeat."""
        if self.exporter is not None:
            await self.exporter.stop()

    def _provider_of(self, endpoint: str) -> str:
        view = self._books.endpoints.views.get(endpoint)
        return view.spec.provider if view is not None else ""
