"""The pilot method: at each decision about residents, follow every alternative to the end and take the best. Any-time.

Alternatives at a decision are what the rule proposes, every other load that memory allows, whatever protects its
victims, and to do nothing yet. Each is carried out on a copy of the run, which then goes on under the rule alone; what
the rule proposes is only left for something better. The best run seen on the way is what comes back.

Cost: decisions x alternatives x half a simulation.
"""

from ostler.planning.compiled import Compiled, Option
from ostler.planning.engine import Run
from ostler.planning.ports import Effort
from ostler.planning.value import Value, value_of
from ostler.residency.rule import Load, Params, load_of


def alternatives(run: Run, natural: Load) -> list[Load | None]:
    """The natural move first, then the others, then `None`: wait."""
    moves: list[Load | None] = [natural]
    for want in run.wants:
        if not (want.waiting or want.soon):
            continue
        for host in run.hosts:
            move = load_of(run.state, run.params, run.now_ms, want, host)
            if move is not None and (move.host, move.models) != (natural.host, natural.models):
                moves.append(move)
    moves.append(None)
    return moves


def follow(run: Run, move: Load | None) -> Run:
    """A copy of the run that takes the move and goes on to the end under the rule."""
    twin = run.copy()
    if move is None:
        return twin.go(settled=True)
    twin.commit(move)
    return twin.go()


def run_value(run: Run) -> Value:
    """What a complete run is worth."""
    return value_of(run.compiled, run.ends, run.ran, run.loads)


def pilot(
    compiled: Compiled, params: Params, effort: Effort, *, options: list[tuple[Option, ...]] | None = None
) -> Run:
    """The run of the setting with each decision piloted while the effort lasts."""
    best: list[tuple[Value, Run]] = []

    def choose(run: Run, natural: Load) -> Load | None:
        if effort.spent():
            return natural
        chosen: Load | None = natural
        least: Value | None = None
        for move in alternatives(run, natural):
            twin = follow(run, move)
            if twin.left:
                continue
            value = run_value(twin)
            if least is None or value < least:
                least, chosen = value, move
                if not best or value < best[0][0]:
                    best[:] = [(value, twin)]
            if effort.spent():
                break
        return chosen

    run = Run(compiled, params, options=options)
    run.chooser = choose
    run.go()
    if best and (run.left or best[0][0] < run_value(run)):
        return best[0][1]
    return run
