"""The course of the demo: what happens next, by what has happened. Pure.

    start -> second wave -> a machine is switched off -> work comes in while it is away -> it is switched on -> the end

Each step waits for its condition and has a bound in real seconds, so that the demo goes on when a condition never
comes true (a very fast or a very slow computer), and ends when it does not go on at all.
"""

from enum import StrEnum

import msgspec

SECOND_WAVE_SHARE = 0.3
"""Share of the first wave that has ended when the second comes."""
SECOND_WAVE_WITHIN_S = 6.0
"""After its earliest instant."""
KILL_WITHIN_S = 6.0
AWAY_WAVE_AFTER_S = 1.0
AWAY_AT_LEAST_S = 7.0
AWAY_AT_MOST_S = 25.0
BACK_WITHIN_S = 20.0


class Act(StrEnum):
    """What the demo does next."""

    SECOND_WAVE = "second wave"
    SWITCH_OFF = "switch off"
    AWAY_WAVE = "away wave"
    SWITCH_ON = "switch on"
    END = "end"
    GIVE_UP = "give up"


class Moment(msgspec.Struct, frozen=True, kw_only=True):
    """What the story needs to know of the present. `elapsed_s` counts from the first wave."""

    elapsed_s: float
    ended_share: float
    """Of the tasks handed in so far."""
    all_over: bool
    doomed_is_busy: bool
    """The machine to be switched off runs a command and a model call."""
    loss_noticed: bool
    """The hub has given up the worker of the lost machine and knows that its endpoint is down."""
    fell_back: bool
    """A task was sent to another tier because of it."""
    is_back: bool
    """The hub uses the machine again, and its worker has joined."""


class Story:
    """Where the demo is. `next_act` is asked again and again; each act is given once."""

    def __init__(self, *, with_outage: bool, second_wave_after_s: float, give_up_after_s: float) -> None:
        self._second_wave_after_s = second_wave_after_s
        self._give_up_after_s = give_up_after_s
        self._acts = [Act.SECOND_WAVE, Act.SWITCH_OFF, Act.AWAY_WAVE, Act.SWITCH_ON] if with_outage else []
        self._last_s = 0.0

    @property
    def coming(self) -> Act:
        """The act that is waited for."""
        return self._acts[0] if self._acts else Act.END

    def next_act(self, moment: Moment) -> Act | None:
        """What to do now; `None` = wait."""
        if moment.elapsed_s > self._give_up_after_s:
            return Act.GIVE_UP
        if not self._is_due(moment):
            return None
        act = self.coming
        if self._acts:
            self._acts.pop(0)
            self._last_s = moment.elapsed_s
        return act

    def _is_due(self, moment: Moment) -> bool:
        since_s = moment.elapsed_s - self._last_s
        match self.coming:
            case Act.SECOND_WAVE:
                late_s = since_s - self._second_wave_after_s
                return late_s >= (0 if moment.ended_share >= SECOND_WAVE_SHARE else SECOND_WAVE_WITHIN_S)
            case Act.SWITCH_OFF:
                return moment.doomed_is_busy or since_s >= KILL_WITHIN_S
            case Act.AWAY_WAVE:
                return since_s >= AWAY_WAVE_AFTER_S
            case Act.SWITCH_ON:
                away_s = since_s + AWAY_WAVE_AFTER_S
                seen = moment.loss_noticed and moment.fell_back and away_s >= AWAY_AT_LEAST_S
                return seen or away_s >= AWAY_AT_MOST_S
            case _:
                return moment.all_over and (moment.is_back or since_s >= BACK_WITHIN_S)
