"""`ostler simulate-host` and `ostler simulate-cloud`: simulated machines and providers on real ports."""

import sys
from collections.abc import Callable
from pathlib import Path

import msgspec
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from ostler.app.options import SimulateOptions
from ostler.domain.errors import InvalidInputError, nearest
from ostler.simulate.cloud import run_cloud
from ostler.simulate.host import run_host
from ostler.simulate.presets import CLOUD, HOSTS
from ostler.simulate.spec import SimulatedCloudSpec, SimulatedHostSpec, spec_from


def serve_host(options: SimulateOptions) -> None:
    """Serve a machine of a preset or a file. Raises `InvalidInputError`."""
    machine = _host(options)
    if options.name is not None:
        machine = msgspec.structs.replace(machine, name=options.name)
    told = _teller(f"simulated host {machine.name}")
    _serve(lambda: run_host(machine, options.bind, options.port, options.speed, told), options)


def serve_cloud(options: SimulateOptions) -> None:
    """Serve the ready-made provider or that of a file. Raises `InvalidInputError`."""
    path = options.spec
    provider = CLOUD if path is None else spec_from(_document(path), SimulatedCloudSpec, where=path)
    told = _teller("simulated cloud")
    _serve(lambda: run_cloud(provider, options.bind, options.port, options.speed, told), options)


def _host(options: SimulateOptions) -> SimulatedHostSpec:
    if options.spec is not None:
        return spec_from(_document(options.spec), SimulatedHostSpec, where=options.spec)
    if options.preset not in HOSTS:
        remedy = nearest(options.preset, HOSTS)
        raise InvalidInputError(f"no machine '{options.preset}'", where="--preset", remedy=remedy)
    return HOSTS[options.preset]


def _document(path: str) -> object:
    """What a YAML (or JSON, which is YAML too) file holds. Raises `InvalidInputError`."""
    try:
        return YAML(typ="safe", pure=True).load(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInputError(f"cannot be read: {error}", where=path, remedy="name a readable text file") from None
    except (YAMLError, ValueError) as error:
        raise InvalidInputError(f"not YAML: {error}", where=path, remedy="check its indentation and quotes") from None


def _serve(run: Callable[[], None], options: SimulateOptions) -> None:
    try:
        run()
    except OSError as error:
        what = f"cannot listen there: {error.strerror or error}"
        where = f"{options.bind}:{options.port}"
        raise InvalidInputError(what, where=where, remedy="use another --port, or 0") from None


def _teller(what: str) -> Callable[[str], None]:
    def tell(url: str) -> None:
        sys.stdout.write(f"{what} answers at {url}\n")
        sys.stdout.flush()

    return tell
