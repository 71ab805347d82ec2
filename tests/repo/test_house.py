"""The rules of the repository, as tests: size, comments, imports and wording of every source file.

What a linter of the trade already checks (`make check`) is not repeated here.
"""

import ast
import re
import tomllib
from functools import cache
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "src" / "ostler"
ADAPTERS = ("engines", "fleet", "gateway", "simulate", "solver", "store", "web", "workers")
PURE = (
    "alerts",
    "budget",
    "context",
    "domain",
    "learning",
    "loops",
    "planning",
    "residency",
    "routing",
    "scheduling",
    "wire",
)
MODULE_LINES_MAX = 450
FUNCTION_LINES_MAX = 60
PARAMETERS_MAX = 9
# Builtins that reach outside or differ between processes; the linter sees modules only.
IMPURE_BUILTINS = {"__import__", "breakpoint", "hash", "input", "open", "print"}
# Addresses of package registries and paths of one machine have no place in a tree that others clone.
FORBIDDEN_WORDS = re.compile(r"pypi\.org|pythonhosted|registry\.npmjs|(?<![\w.])/(?:work|root|home/\w+)/")
CODE_FOLDERS = ("src", "tests", "bench", "scripts")
OURS = (*CODE_FOLDERS, "docs", "examples", "profiles", "requirements", ".ci")

Function = ast.FunctionDef | ast.AsyncFunctionDef


def python_files(*folders: str) -> list[Path]:
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


def code_files() -> list[Path]:
    return python_files(*CODE_FOLDERS)


def relative(path: Path) -> str:
    return str(path.relative_to(ROOT))


class Facts(NamedTuple):
    """What is asked of a function, or of a module: kept, because to read all files takes seconds."""

    name: str
    line: int
    lines: int
    parameters: int
    has_docstring: bool


@cache
def facts(path: Path) -> tuple[Facts, tuple[Facts, ...]]:
    """Of a module and of the functions in it."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    module = Facts(path.stem, 1, 0, 0, bool(ast.get_docstring(tree)))
    return module, tuple(of_function(node) for node in ast.walk(tree) if isinstance(node, Function))


def of_function(node: Function) -> Facts:
    lines = (node.end_lineno or node.lineno) - node.lineno + 1
    arguments = node.args
    parameters = len(arguments.posonlyargs) + len(arguments.args) + len(arguments.kwonlyargs)
    return Facts(node.name, node.lineno, lines, parameters, bool(ast.get_docstring(node)))


def non_blank_lines(*folders: str) -> int:
    return sum(bool(line.strip()) for path in python_files(*folders) for line in path.read_text("utf-8").splitlines())


def pyproject() -> dict[str, object]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def contracts() -> dict[str, dict[str, list[str]]]:
    tool = pyproject()["tool"]
    assert isinstance(tool, dict)
    return {contract["id"]: contract for contract in tool["importlinter"]["contracts"]}


def test_every_package_has_its_place_in_the_house() -> None:
    """A package or module of the top level is named in the contract that orders the house."""
    named = set(re.findall(r"\w+", " ".join(contracts()["house"]["layers"])))

    present = {path.stem for path in PACKAGE.iterdir() if path.suffix == ".py" or list(path.glob("*.py"))} - {
        "__init__"
    }

    assert present - named == set()


def test_every_pure_package_is_kept_from_io() -> None:
    """A pure package that exists is held to the contract against I/O libraries, and no other claims to be pure."""
    present = {f"ostler.{name}" for name in PURE if (PACKAGE / name / "__init__.py").exists()}

    assert set(contracts()["pure"]["source_modules"]) == present


def test_no_pure_package_is_exempted_from_the_ban_on_io() -> None:
    """No line of the linter's configuration lets a pure package own a clock, a file or a socket."""
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")

    exempted = set(re.findall(r'^"src/ostler/(\w+)', text, flags=re.MULTILINE))

    assert exempted & set(PURE) == set()


def imported(path: Path) -> set[str]:
    """The modules a file names in its import statements, at the top or inside a function."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


# The demo is a program of its own: it starts real engines and speaks to its hub over HTTP, as an outside user does.
COMPOSERS = ("app", "demo")


def test_adapters_meet_in_the_composition_root_alone() -> None:
    """Outside of `app` (and the demo, an outside user), no module imports an adapter that it is not part of."""
    strangers = []
    for path in python_files("src"):
        own = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
        foreign = {f"ostler.{name}" for name in ADAPTERS if name != own}
        if own not in COMPOSERS and (
            met := {name for name in imported(path) if ".".join(name.split(".")[:2]) in foreign}
        ):
            strangers.append(f"{relative(path)}: {', '.join(sorted(met))}")

    assert strangers == []


def test_a_pure_module_calls_no_impure_builtin() -> None:
    """The core neither opens, prints nor asks, and hashes nothing in a way that differs between processes."""
    impure = [
        f"{relative(path)}:{node.lineno} {node.func.id}"
        for path in python_files(*(f"src/ostler/{name}" for name in PURE))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in IMPURE_BUILTINS
    ]

    assert impure == []


def test_a_module_says_what_it_is() -> None:
    """Every file of code starts with a docstring."""
    mute = [relative(path) for path in code_files() if not facts(path)[0].has_docstring]

    assert mute == []


def test_a_test_states_its_claim() -> None:
    """Every test starts with a docstring: the sentence that it proves."""
    mute = [
        f"{relative(path)}:{function.line} {function.name}"
        for path in python_files("tests")
        for function in facts(path)[1]
        if function.name.startswith("test_") and not function.has_docstring
    ]

    assert mute == []


def test_a_module_has_one_reason_to_exist() -> None:
    """No file has grown past the size at which it is usually two things."""
    sizes = {relative(path): len(path.read_text(encoding="utf-8").splitlines()) for path in code_files()}

    assert {name: lines for name, lines in sizes.items() if lines > MODULE_LINES_MAX} == {}


def test_a_function_fits_a_screen() -> None:
    """No function is longer than a screen or takes more parameters than a reader can hold."""
    too_large = [
        f"{relative(path)}:{function.line} {function.name}: {function.lines} lines, {function.parameters} parameters"
        for path in code_files()
        for function in facts(path)[1]
        if function.lines > FUNCTION_LINES_MAX or function.parameters > PARAMETERS_MAX
    ]

    assert too_large == []


def test_a_broad_except_says_which_boundary_it_guards() -> None:
    """Catching everything is allowed only where a `# boundary:` comment on the line tells why that hides nothing."""
    silent = []
    for path in python_files("src"):
        lines = path.read_text(encoding="utf-8").splitlines()
        handlers = (node for node in ast.walk(ast.parse("\n".join(lines))) if isinstance(node, ast.ExceptHandler))
        for handler in handlers:
            explained = reraises(handler) or re.search(r"# boundary: \w+", lines[handler.lineno - 1])
            if catches_everything(handler) and not explained:
                silent.append(f"{relative(path)}:{handler.lineno}")

    assert silent == []


def catches_everything(handler: ast.ExceptHandler) -> bool:
    named = (
        {node.id for node in ast.walk(handler.type) if isinstance(node, ast.Name)} if handler.type else {"Exception"}
    )
    return bool(named & {"Exception", "BaseException"})


def reraises(handler: ast.ExceptHandler) -> bool:
    return isinstance(handler.body[-1], ast.Raise) and handler.body[-1].exc is None


def test_no_cancel_is_lost_in_a_wait() -> None:
    """Until Python 3.12 `asyncio.wait_for` swallows a cancel that comes in the turn in which what it waits for ends, so
    that who cancelled waits for ever. `asyncio.timeout` does not.
    """
    assert [relative(path) for path in python_files("src") if "asyncio.wait_for(" in path.read_text("utf-8")] == []


def test_nothing_names_a_registry_or_one_machine() -> None:
    """No file that is cloned holds the address of a package registry or the path of somebody's machine."""
    files = [ROOT / "Makefile", ROOT / "README.md", ROOT / "pyproject.toml"]
    files += [path for folder in OURS for path in (ROOT / folder).rglob("*") if path.is_file()]
    found = []
    for path in files:
        if "__pycache__" in path.parts or path == Path(__file__):
            continue
        text = path.read_text(encoding="utf-8", errors="replace")
        found += [f"{relative(path)}: {word}" for word in FORBIDDEN_WORDS.findall(text)]

    assert found == []


def test_every_exception_from_a_lint_rule_has_its_reason() -> None:
    """In the linter's lists of ignored rules, each line that names a rule carries a comment."""
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    section = text[text.index("[tool.ruff.lint]") : text.index("[tool.ruff.lint.flake8-tidy-imports]")]
    rule = re.compile(r'"[A-Z]+\d*"')

    bare = [line for line in section.splitlines() if rule.search(line) and "select" not in line and "# " not in line]

    assert bare == []


def test_every_suppressed_warning_names_its_rule() -> None:
    """A `noqa` or `type: ignore` names the rule that it silences, so that no other is silenced with it."""
    blanket = re.compile(r"#\s*(?:noqa(?!: [A-Z]+\d)|type: ignore(?!\[))")

    found = [
        f"{relative(path)}:{number}"
        for path in code_files()
        if path != Path(__file__)
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if blanket.search(line)
    ]

    assert found == []


def test_what_a_user_gets_is_what_is_tested() -> None:
    """Every package of core.lock and build.lock is in dev.lock at the same version with the same hashes."""

    def pins(name: str) -> dict[str, str]:
        text = (ROOT / "requirements" / f"{name}.lock").read_text(encoding="utf-8")
        text = re.sub(r"^ *#.*\n", "", text, flags=re.MULTILINE)
        return {row.split("==")[0]: row for row in re.split(r"\n(?=\w)", text.strip())}

    tested = pins("dev")

    for lock in ("core", "build"):
        assert {name: pin for name, pin in pins(lock).items() if tested.get(name) != pin} == {}, lock


def test_every_locked_package_has_a_hash() -> None:
    """Nothing is installed that cannot be checked."""
    for lock in sorted((ROOT / "requirements").glob("*.lock")):
        rows = re.split(r"\n(?=[\w-]+(?:\[[\w,]+\])?==)", lock.read_text(encoding="utf-8"))
        assert [row.split()[0] for row in rows if "==" in row and "--hash=sha256:" not in row] == [], lock.name


def test_changes_are_told() -> None:
    """There is a changelog and its first entry names a version or what is coming."""
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")

    assert re.search(r"^## ", text, flags=re.MULTILINE)


def test_there_is_at_least_as_much_test_as_code() -> None:
    """Test lines are no fewer than code lines over the whole tree, blank lines aside."""
    assert non_blank_lines("tests") >= non_blank_lines("src")


def test_every_target_that_is_named_does_something() -> None:
    """A target that is only listed as one does nothing, and says that all is well."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    named = re.search(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)
    rules = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))

    assert named is not None
    assert set(named[1].split()) - {"FORCE"} <= rules
