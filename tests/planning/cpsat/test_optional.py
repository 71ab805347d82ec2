"""Planning does not need the exact solver."""

import subprocess
import sys


def test_planning_is_imported_without_the_solver() -> None:
    """Whoever plans by rules alone, or only asks the solver's process, never loads the extra."""
    program = (
        "import sys\n"
        "sys.modules['ortools'] = None\n"
        "import ostler.planning, ostler.planning.strategies, ostler.planning.cpsat.result, ostler.solver.process\n"
    )

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)

    assert (done.returncode, done.stderr) == (0, "")
