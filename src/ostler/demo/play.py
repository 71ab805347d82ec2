"""Plays the demo from start to end: fleet, work, the story, and the evidence for the report."""

import time
from collections.abc import Sequence
from itertools import takewhile

import msgspec

from ostler.demo.agent_scene import AgentScene, find_agent
from ostler.demo.callers import AWAY, CALM, Callers, CallRow, Question, call_row
from ostler.demo.fleet import Fleet
from ostler.demo.live import View
from ostler.demo.machines import state_of_calls, with_swaps_of_hub
from ostler.demo.report import Chapter, Evidence, HostRow, Tone
from ostler.demo.story import Act, Story
from ostler.demo.telling import DOWN, RATE_LIMITED, is_chapter, tell, tone_of
from ostler.demo.watcher import Look, Watcher, moment_of
from ostler.demo.workload import Wave, Workload
from ostler.domain.event import Event
from ostler.domain.ports import CallQuery
from ostler.hub.views import TaskAnswer

LOOK_EVERY_S = 0.25
MODELLED_START_S = 120.0
"""So long, in the time of the simulated machines, the first wave has them for itself."""
PATIENCE_S = 120.0
MODELLED_WORK_S = 900.0
"""The demo gives up after its patience and the time that its work takes on the simulated machines, twice over."""
AGENTS = "agents"
"""Id of the pipeline's run: its tasks are called `agents.NAME`."""


class Play:
    """One performance. `fleet` must have been started."""

    def __init__(
        self,
        fleet: Fleet,
        workload: Workload,
        view: View,
        *,
        speed: float,
        with_outage: bool = True,
        with_agent: bool = False,
    ) -> None:
        self._with_agent = with_agent
        self._speed = speed
        self._fleet = fleet
        self._workload = workload
        self._view = view
        self._story = Story(
            with_outage=with_outage,
            second_wave_after_s=MODELLED_START_S / speed,
            give_up_after_s=PATIENCE_S + MODELLED_WORK_S / speed,
        )
        self._watcher = Watcher(fleet)
        self._callers = Callers(fleet.client.url)
        self._begun_ms = int(time.time() * 1000)
        self._own: list[Chapter] = []
        self._handed_in = 0
        self._gave_up = False
        self._planned = False

    def run(self) -> None:
        """Hand in the work and go through the story. Raises `OstlerError` when the fleet breaks."""
        if self._workload.pipeline is not None:
            answer = self._fleet.run_file(self._workload.pipeline, AGENTS)
            self._handed_in += len(answer.tasks)
            self._tell(f"{len(answer.tasks)} tasks are handed in: ostler run {self._workload.pipeline.name} --plan")
            self._tell_plan(answer.unplanned)
        self._hand_in(Wave.FIRST, "the first wave")
        while True:
            look = self._watcher.look()
            act = self._story.next_act(moment_of(look, self._fleet.doomed))
            if act is not None:
                self._perform(act)
            self._view.show(look, self._news(look, everything=True))
            if act in (Act.END, Act.GIVE_UP):
                self._gave_up = act is Act.GIVE_UP
                break
            time.sleep(LOOK_EVERY_S)
        if self._with_agent and not self._gave_up:
            self._handed_in += AgentScene(self._fleet, self._tell_now).play(find_agent())

    def _tell_now(self, text: str) -> None:
        """Tell, and show it at once."""
        self._tell(text)
        look = self._watcher.look()
        self._view.show(look, self._news(look, everything=True))

    def _tell_plan(self, unplanned: str) -> None:
        """What the hub plans for the pipeline; where nothing is known of a fleet in advance, there may be no plan."""
        if unplanned:
            self._tell(f"the pipeline is not planned: {unplanned}")
            return
        planned = self._fleet.client.run_plan(AGENTS).planned_figures
        self._tell(f"they are planned: {planned.makespan_ms / 1000:.1f} s with {planned.loads} loads on an idle fleet")
        self._planned = True

    def evidence(self) -> Evidence:
        """What the report is made of; asks hub and machines once more."""
        called = self._callers.wait()
        look = self._watcher.look()
        answers = tuple(self._fleet.client.task(task.id) for task in look.tasks)
        pace = f"the pace of what is simulated: {self._speed:g} simulated seconds in one real second"
        return Evidence(
            answers=answers,
            hosts=self._hosts(answers, look.events),
            catalog=self._fleet.catalog,
            story=tuple(self._news(look, everything=False)),
            shows=self._workload.shows,
            expected=self._handed_in,
            elapsed_s=self._watcher.elapsed_s,
            speed=self._speed,
            simulated=(*self._fleet.site.what_is_simulated, pace),
            real=self._fleet.site.what_is_real,
            why=self._why(look),
            calls=self._calls(),
            calls_expected=called,
            plan=self._fleet.client.run_plan(AGENTS) if self._planned else None,
            gave_up=self._gave_up,
        )

    def _calls(self) -> tuple[CallRow, ...]:
        """What the hub recorded of them, oldest first."""
        found = self._fleet.client.calls(CallQuery()).calls
        return tuple(call_row(record) for record in reversed(found))

    def _why(self, look: Look) -> tuple[str, ...]:
        """What the hub says of the newest task that fell back, up to its candidates, whose lines are long."""
        fallen = next((task for task in reversed(look.tasks) if task.fallback_used), None)
        if fallen is None:
            return ()
        why = self._fleet.client.why(fallen.id)
        lines = takewhile(lambda line: line.strip() != "Candidates", why.lines)
        return tuple("\n".join((why.headline, *lines)).rstrip().split("\n"))

    def _perform(self, act: Act) -> None:
        doomed = self._fleet.doomed
        match act:
            case Act.SECOND_WAVE:
                self._hand_in(Wave.SECOND, "the second wave")
                self._call(CALM, "an editor and a chat window")
            case Act.SWITCH_OFF:
                self._fleet.switch_off(doomed)
                self._tell(f"{doomed} IS SWITCHED OFF: its server and its worker are killed (kill -9)", Tone.BAD)
            case Act.AWAY_WAVE:
                self._hand_in(Wave.AWAY, f"more work, while {doomed} is away")
                self._call(AWAY, "an agent and an editor")
            case Act.SWITCH_ON:
                self._fleet.switch_on(doomed)
                self._tell(f"{doomed} is switched on again", Tone.GOOD)
            case Act.GIVE_UP:
                self._tell("this takes too long: the demo gives up", Tone.BAD)
            case Act.END:
                pass

    def _hand_in(self, wave: Wave, name: str) -> None:
        specs = self._workload.waves.get(wave, ())
        if specs:
            self._fleet.client.submit(specs)
            self._handed_in += len(specs)
            self._tell(f"{len(specs)} tasks are handed in: {name}")

    def _call(self, questions: Sequence[Question], who: str) -> None:
        """Live calls beside the tasks. A real engine's models have names of their own: there nobody calls."""
        if self._fleet.site.simulated:
            self._callers.ask(questions)
            self._tell(f"{len(questions)} live calls come in through the gateway: {who}")

    def _tell(self, text: str, tone: Tone = Tone.PLAIN) -> None:
        self._own.append(Chapter(at_s=round(self._watcher.elapsed_s, 1), text=text, tone=tone))

    def _news(self, look: Look, *, everything: bool) -> list[Chapter]:
        """Our own acts and the hub's events in the order of time; for the report only the large ones."""
        news = list(self._own)
        limited = {(event.metadata["endpoint"], event.at_ms) for event in look.events if event.name == RATE_LIMITED}
        for event in look.events:
            text = tell(event) if everything or is_chapter(event) else None
            # A rate limit makes the endpoint unusable at the same instant: one line is enough.
            told = event.name == DOWN and (event.metadata["endpoint"], event.at_ms) in limited
            if text is not None and not told and event.at_ms >= self._begun_ms:
                at_s = round((event.at_ms - self._begun_ms) / 1000, 1)
                news.append(Chapter(at_s=at_s, text=text, tone=tone_of(event)))
        return sorted(news, key=lambda chapter: chapter.at_s)

    def _hosts(self, answers: tuple[TaskAnswer, ...], events: Sequence[Event]) -> tuple[HostRow, ...]:
        site = self._fleet.site
        rows = []
        for name, machine in self._fleet.machines.items():
            calls = [call for answer in answers for call in answer.attempts if call.endpoint == name]
            counted = site.load_ms(name)
            if counted:
                state = state_of_calls(calls, counted, machine.starts_ms)
            else:
                state = with_swaps_of_hub(self._fleet.total(name), name, events)
            row = HostRow(
                name=name,
                engine=site.engine,
                simulated=site.simulated,
                switched_off=machine.deaths,
                **msgspec.structs.asdict(state),
            )
            rows.append(row)
        return tuple(rows)
