"""The desk of loops of the recording hub."""

from collections.abc import Callable

from ostler.hub.loop_views import LoopAnswer, LoopHistory, LoopList, LoopWish, ScheduleChange
from tests.web import loop_samples


class RecordingLoops:
    """Records what it is asked; answers with the samples."""

    def __init__(self, record: Callable[..., None]) -> None:
        self._record = record

    async def create(self, wish: LoopWish) -> LoopAnswer:
        self._record("create_loop", wish)
        return loop_samples.ANSWER

    async def act(self, name: str, verb: str) -> LoopAnswer:
        self._record("steer_loop", name, verb)
        return loop_samples.ANSWER

    async def change(self, name: str, change: ScheduleChange) -> LoopAnswer:
        self._record("change_loop", name, change)
        return loop_samples.ANSWER

    async def drop(self, name: str) -> None:
        self._record("drop_loop", name)

    async def listed(self) -> LoopList:
        self._record("loops")
        return loop_samples.LIST

    async def show(self, name: str) -> LoopAnswer:
        self._record("loop", name)
        return loop_samples.ANSWER

    async def history(self, name: str, limit: int) -> LoopHistory:
        self._record("loop_history", name, limit)
        return loop_samples.HISTORY
