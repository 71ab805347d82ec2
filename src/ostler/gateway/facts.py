"""Facts of calls, remembered: most calls of a gateway ask the same few things.

What is remembered belongs to one set of rules and is forgotten with it. Only names that the profile itself knows are
remembered, since the others depend on what endpoints list at the moment, and no call whose words were looked at.
"""

from collections.abc import Mapping

import msgspec

from ostler.domain.catalog import Capability
from ostler.domain.fleet import EndpointView
from ostler.domain.live import GatewayKey
from ostler.domain.policy import Policy
from ostler.domain.tasks import TaskFacts
from ostler.routing.call_facts import step_up
from ostler.routing.facts import CallWish, describe_call

MAX_KEPT = 4_096
"""Facts kept at once; then all are forgotten."""
_Asked = tuple[str, int, int | None, int | None, frozenset[Capability], bool, tuple[str, ...], tuple[str, ...]]


class Facts:
    """Describes calls under the rules of now."""

    def __init__(self) -> None:
        self._policy: Policy | None = None
        self._kept: dict[_Asked, TaskFacts] = {}

    def of(
        self,
        wish: CallWish,
        key: GatewayKey | None,
        policy: Policy,
        views: Mapping[str, EndpointView],
        *,
        local_only: bool,
    ) -> TaskFacts:
        """The facts of a call with a key. Raises as `describe_call` does."""
        if policy is not self._policy or len(self._kept) >= MAX_KEPT:
            self._policy = policy
            self._kept.clear()
        models, tiers = (key.models, key.tiers) if key is not None else ((), ())
        # The length counts in steps only, as it does in the facts.
        asked = (
            wish.model,
            step_up(wish.prompt_tokens),
            wish.max_output_tokens,
            wish.context_tokens,
            wish.capabilities,
            local_only,
            models,
            tiers,
        )
        known = self._kept.get(asked) if not wish.text else None
        if known is not None:
            return known
        whole = msgspec.structs.replace(
            wish, local_only=local_only, only_models=frozenset(models), only_tiers=frozenset(tiers)
        )
        facts = describe_call(whole, policy, views)
        if not wish.text and (facts.model is None or facts.model in policy.catalog.models):
            self._kept[asked] = facts
        return facts
