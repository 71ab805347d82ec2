"""Earliest starts and least tails of jobs that follow from the instance alone: domains that need no search.

Everywhere: releases, the loads a job cannot do without, the longest path. On a single host, and for its *clique* (of
its models no two fit together), more holds for the jobs that come before job j, directly or not:

- each model of the clique that one of them needs is resident for at least their longest chain, counting this model's
  jobs alone, and for at least their work by its slots; these times do not overlap;
- each such model is loaded once, and unloaded again unless j needs it.

The sum is a head of j; mirrored, with what comes after j, it is a tail. Chains through *other* models keep their order,
which makes the sum strong. Elsewhere, where models can be resident side by side, the largest of these times counts
instead of their sum, with the slots of all hosts. Only jobs that need one model in any case have a kind.

Complexity: O(jobs x needs) words of bits, O(jobs^2) in the worst case.
"""

from collections.abc import Sequence

import msgspec


class Piece(msgspec.Struct, frozen=True, kw_only=True):
    """A job as far as heads need it. `model` is an index of `Kind`, or -1 if open or outside of the clique."""

    model: int
    ticks: int
    """Its least duration; 0 for what may be dropped."""
    floor: int
    """Its release and the loads it cannot do without."""
    needs: tuple[int, ...]


class Kind(msgspec.Struct, frozen=True, kw_only=True):
    """A model of the clique."""

    load: int
    """0 for one that is there at the start."""
    unload: int
    slots: int


def heads(pieces: Sequence[Piece], kinds: Sequence[Kind], *, exclusive: bool) -> list[int]:
    """No piece starts earlier in any plan. `exclusive`: one host, no two of the kinds are ever resident together."""
    return _swept(pieces, kinds, exclusive=exclusive, forward=True)


def tails(pieces: Sequence[Piece], kinds: Sequence[Kind], *, exclusive: bool) -> list[int]:
    """After the end of each piece at least so much time goes by until all is done."""
    after: list[list[int]] = [[] for _ in pieces]
    for index, piece in enumerate(pieces):
        for need in piece.needs:
            after[need].append(index)
    mirrored = [
        msgspec.structs.replace(piece, floor=0, needs=tuple(after[index])) for index, piece in enumerate(pieces)
    ]
    return _swept(mirrored, kinds, exclusive=exclusive, forward=False)


def ancestors(pieces: Sequence[Piece]) -> list[int]:
    """Of each piece the bits of all that has to end before it starts."""
    before = [0] * len(pieces)
    for index in _order(pieces):
        for need in pieces[index].needs:
            before[index] |= before[need] | 1 << need
    return before


def _swept(pieces: Sequence[Piece], kinds: Sequence[Kind], *, exclusive: bool, forward: bool) -> list[int]:
    found = [0] * len(pieces)
    before = ancestors(pieces)
    chains: list[list[int]] = [[0] * len(kinds) for _ in pieces]
    for index in _order(pieces):
        piece = pieces[index]
        head = piece.floor
        for need in piece.needs:
            switch = _switch(pieces[need], piece, kinds, forward=forward) if exclusive else 0
            head = max(head, found[need] + pieces[need].ticks + switch)
            for kind, length in enumerate(chains[need]):
                own = pieces[need].ticks if pieces[need].model == kind else 0
                chains[index][kind] = max(chains[index][kind], length + own)
        resident = _resident(pieces, kinds, before[index], chains[index])
        if exclusive:
            clocks = sum(resident.values()) + _swaps(resident, kinds, piece, forward=forward)
        else:
            clocks = max((time + (kinds[kind].load if forward else 0) for kind, time in resident.items()), default=0)
        found[index] = max(head, clocks)
    return found


def _switch(first: Piece, then: Piece, kinds: Sequence[Kind], *, forward: bool) -> int:
    """Time between two jobs of which one needs the other, if their models take turns."""
    if first.model < 0 or then.model < 0 or first.model == then.model:
        return 0
    out, into = (first, then) if forward else (then, first)
    return kinds[out.model].unload + kinds[into.model].load


def _resident(pieces: Sequence[Piece], kinds: Sequence[Kind], bits: int, chains: Sequence[int]) -> dict[int, int]:
    """How long each kind must be resident for the jobs in `bits`; kinds that none of them needs are left out."""
    work: dict[int, int] = {}
    while bits:
        low = bits & -bits
        other = pieces[low.bit_length() - 1]
        bits ^= low
        if other.model >= 0:
            work[other.model] = work.get(other.model, 0) + other.ticks
    return {kind: max(chains[kind], -(-ticks // kinds[kind].slots)) for kind, ticks in sorted(work.items())}


def _swaps(resident: dict[int, int], kinds: Sequence[Kind], piece: Piece, *, forward: bool) -> int:
    """Loads and unloads without which the kinds cannot all have been resident before the piece, or after it."""
    others = [kind for kind in resident if kind != piece.model]
    if piece.model < 0:
        return sum(kinds[kind].load for kind in others) if forward else 0
    own = kinds[piece.model]
    if forward:
        return own.load + sum(kinds[kind].load + kinds[kind].unload for kind in others)
    return sum(kinds[kind].load for kind in others) + (own.unload if others else 0)


def _order(pieces: Sequence[Piece]) -> list[int]:
    done: set[int] = set()
    order = []
    for last in range(len(pieces)):
        stack = [last]
        while stack:
            index = stack[-1]
            missing = [need for need in pieces[index].needs if need not in done]
            if missing:
                stack.extend(missing)
                continue
            stack.pop()
            if index not in done:
                done.add(index)
                order.append(index)
    return order
