"""The program `ostler`: one place where errors become text and exit codes, so that no traceback reaches a user."""

import gc
import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ostler.version import __version__

if TYPE_CHECKING:
    from ostler.domain.errors import OstlerError

INTERRUPTED = 130


def main() -> None:
    """Run the program and leave with its exit code."""
    code = run(sys.argv[1:])
    gc.freeze()  # the last collections of the interpreter would walk all modules for nothing: 12 ms of a short verb
    sys.exit(code)


def run(arguments: Sequence[str]) -> int:
    """Run one command line; the exit code (`ExitCode`). `OSTLER_DEBUG=1` lets unexpected exceptions through."""
    if list(arguments) == ["--version"]:
        print(f"ostler {__version__}")  # noqa: T201 -- the answer, without loading anything
        return 0
    try:
        return _run(arguments)
    except KeyboardInterrupt:
        return INTERRUPTED
    except Exception as error:  # boundary: the last place before the user
        if os.environ.get("OSTLER_DEBUG"):
            raise
        _say(f"unexpected {type(error).__name__}: {error} (a mistake of ours; OSTLER_DEBUG=1 shows where)")
        return 1


def _run(arguments: Sequence[str]) -> int:
    import click

    from ostler.cli.lazy import ReaderGoneError
    from ostler.cli.verbs import program
    from ostler.domain.errors import ExitCode, OstlerError

    try:
        result = program().main(list(arguments), prog_name="ostler", standalone_mode=False)
        sys.stdout.flush()
    except OstlerError as error:
        _tell(error, arguments)
        return error.exit_code
    except (ReaderGoneError, BrokenPipeError):
        # It has all it wanted (`ostler events | head`). Python would try to flush once more at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ExitCode.OK
    except click.Abort:
        return ExitCode.INTERRUPTED
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        return ExitCode.USAGE
    except click.ClickException as error:
        _tell(_usage_error(error), arguments)
        return ExitCode.USAGE
    return result if isinstance(result, int) else ExitCode.OK


def _usage_error(error: "click.ClickException") -> "OstlerError":
    import click

    from ostler.cli import usage
    from ostler.domain.errors import InvalidInputError

    context = error.ctx if isinstance(error, click.UsageError) else None
    place = context.command_path if context else "ostler"
    remedy = usage.remedy(error) if isinstance(error, click.UsageError) else f"see `{place} --help`"
    return InvalidInputError(error.format_message().rstrip("."), where=place, remedy=remedy)


def _tell(error: "OstlerError", arguments: Sequence[str]) -> None:
    """Say what is wrong: JSON when JSON was asked for, else a line for each problem."""
    from ostler.domain.errors import ProfileError

    options = arguments[: arguments.index("--")] if "--" in arguments else arguments
    if "--json" in options:
        import msgspec

        from ostler.hub.views import ErrorAnswer, ErrorBody

        body = ErrorBody(code=error.code, message=error.what, where=error.where, remedy=error.remedy)
        print(msgspec.json.encode(ErrorAnswer(error=body)).decode(), file=sys.stderr)  # noqa: T201 -- for programs
        return
    for problem in error.problems if isinstance(error, ProfileError) else (error,):
        _say(str(problem))


def _say(text: str) -> None:
    print(f"ostler: {text}", file=sys.stderr)  # noqa: T201 -- for a person


if TYPE_CHECKING:
    import click

if __name__ == "__main__":
    main()
