"""What is measured: the direct call, nginx, LiteLLM's proxy, Ostler. Each with one worker, in front of one endpoint."""

import contextlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

import msgspec

from bench.hop.machine import (
    ROOT,
    START_POLL_S,
    Cores,
    Program,
    StartError,
    first_answer_s,
    free_port,
    rig_env,
    running,
)

START_LIMIT_S = 60.0
SLOTS = 64
WIDE_SLOTS = 1_000


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """One that is up and has answered."""

    name: str
    port: int
    key: str = ""
    pid: int | None = None
    start_s: float = 0.0
    size_mb: float | None = None
    queues: bool = False
    """It keeps what exceeds the endpoint's slots waiting."""


class Upstream(NamedTuple):
    """The ports of the simulated endpoint: two, because what has other slots is another server to a hub."""

    port: int
    wide_port: int


Opener = Callable[[Cores, Upstream, Path], AbstractContextManager[Target]]


@contextlib.contextmanager
def upstream(cores: Cores, folder: Path) -> Iterator[Upstream]:
    """The simulated endpoint."""
    ports = Upstream(free_port(), free_port())
    with cores.on(cores.rest):
        program = Program([sys.executable, "-m", "bench.hop.upstream", *map(str, ports)], folder, rig_env())
    try:
        first_answer_s(program, ports.port, "", "bench-chat", START_LIMIT_S)
        yield ports
    finally:
        program.stop()


@contextlib.contextmanager
def direct(_cores: Cores, ports: Upstream, _folder: Path) -> Iterator[Target]:
    """No gateway at all."""
    yield Target(name="direct", port=ports.port)


# --- nginx ---------------------------------------------------------------------------------------------------------

NGINX = """\
worker_processes 1;
daemon off;
pid {folder}/nginx.pid;
error_log {folder}/error.log error;
events {{ worker_connections 8192; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    client_body_buffer_size 256k;
    keepalive_requests 100000000;
    upstream endpoint {{
        server 127.0.0.1:{upstream};
        keepalive 128;
        keepalive_requests 100000000;
    }}
    server {{
        listen 127.0.0.1:{port} backlog=2048;
        location / {{
            proxy_pass http://endpoint;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_buffering off;
            proxy_read_timeout 120s;
        }}
    }}
}}
"""


def nginx_program() -> str | None:
    """Where nginx is; `None` = not installed."""
    return shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin:/usr/local/sbin")


@contextlib.contextmanager
def nginx(cores: Cores, ports: Upstream, folder: Path) -> Iterator[Target]:
    """A bare hop, as far down as it goes. Raises `StartError` where it is not installed."""
    program = nginx_program()
    if program is None:
        raise StartError("nginx is not installed")
    own, port = folder / "nginx", free_port()
    own.mkdir()
    config = own / "nginx.conf"
    config.write_text(NGINX.format(folder=own, upstream=ports.port, port=port))
    with cores.on(cores.target):
        started = Program([program, "-p", str(own), "-c", str(config), "-e", str(own / "error.log")], own)
    try:
        start_s = first_answer_s(started, port, "", "bench-chat", START_LIMIT_S)
        yield Target(name="nginx", port=port, pid=started.process.pid, start_s=start_s)
    finally:
        started.stop()


# --- LiteLLM -------------------------------------------------------------------------------------------------------

LITELLM = """\
model_list:
  - {{model_name: bench-chat, litellm_params: {{model: openai/bench-chat, api_base: "{base}/v1", api_key: none}}}}
  - {{model_name: bench-wide, litellm_params: {{model: openai/bench-wide, api_base: "{base}/v1", api_key: none}}}}
general_settings: {{master_key: sk-bench}}
litellm_settings: {{telemetry: false}}
"""


def litellm(python: str) -> Opener:
    """LiteLLM's proxy out of the environment of that interpreter."""

    @contextlib.contextmanager
    def opened(cores: Cores, ports: Upstream, folder: Path) -> Iterator[Target]:
        own, port = folder / "litellm", free_port()
        own.mkdir()
        (own / "config.yaml").write_text(LITELLM.format(base=f"http://127.0.0.1:{ports.port}"))
        script = str(Path(python).absolute().with_name("litellm"))
        command = [script, "--config", "config.yaml", "--host", "127.0.0.1", "--port", str(port), "--num_workers", "1"]
        env = {
            "PATH": os.environ["PATH"],
            "HOME": str(own),
            "LITELLM_LOG": "ERROR",
            "LITELLM_LOCAL_MODEL_COST_MAP": "True",
            "NO_PROXY": "127.0.0.1",
        }
        with cores.on(cores.target):
            started = Program([*command, "--telemetry", "False"], own, env)
        try:
            start_s = first_answer_s(started, port, "sk-bench", "bench-chat", START_LIMIT_S)
            yield Target(
                name="litellm", port=port, key="sk-bench", pid=started.process.pid, start_s=start_s,
                size_mb=_folder_mb(python),
            )  # fmt: skip
        finally:
            started.stop()

    return opened


def _folder_mb(python: str) -> float:
    """All packages of an interpreter."""
    show = [python, "-c", "import sysconfig; print(sysconfig.get_paths()['purelib'])"]
    packages = Path(subprocess.run(show, check=True, capture_output=True, text=True).stdout.strip())
    return sum(path.stat().st_size for path in packages.rglob("*") if path.is_file()) / 1e6


# --- Ostler --------------------------------------------------------------------------------------------------------

OSTLER = """\
routing:
  tiers:
    standard: {{models: [bench-chat]}}
    wide: {{models: [bench-wide]}}
providers:
  simulated: {{kind: openai, local: true}}
endpoints:
  - {{name: simulated, provider: simulated, url: "http://127.0.0.1:{port}/v1", slots: {slots}, models: [bench-chat]}}
  - {{name: wide, provider: simulated, url: "http://127.0.0.1:{wide_port}/v1", slots: {wide}, models: [bench-wide]}}
gateway: {{require_key: always, max_waiting: 2000}}
worker: {{allow: [chat]}}
"""


@contextlib.contextmanager
def ostler(cores: Cores, ports: Upstream, folder: Path) -> Iterator[Target]:
    """A hub as `ostler up` starts it, with a key that is asked for."""
    own = folder / "ostler"
    own.mkdir()
    profile = OSTLER.format(port=ports.port, slots=SLOTS, wide_port=ports.wide_port, wide=WIDE_SLOTS)
    (own / "ostler.yaml").write_text(profile)
    program = str(Path(sys.executable).with_name("ostler"))
    env = {"PATH": os.environ["PATH"], "HOME": str(own), "OSTLER_HUB_DATA_DIR": str(own / "data")}
    up = [program, "up", "--profile", "ostler.yaml", "--port", "0"]
    with running(up, own, env) as first:  # the key is made once; what is timed is a start like any other
        _hub_port(first, own / "data")
        made = subprocess.run(
            [program, "keys", "create", "bench", "--json"], check=False, capture_output=True, cwd=own, env=env
        )
        if made.returncode:
            raise StartError(made.stderr.decode(errors="replace"))
        key = str(msgspec.json.decode(made.stdout)["key"])
    with cores.on(cores.target):
        started = Program(up, own, env)
    try:
        port = _hub_port(started, own / "data")
        start_s = first_answer_s(started, port, key, "bench-chat", START_LIMIT_S)
        yield Target(
            name="ostler", port=port, key=key, pid=started.process.pid, start_s=start_s, size_mb=core_mb(), queues=True
        )
    finally:
        started.stop()


def _hub_port(program: Program, data: Path) -> int:
    """The port of a hub, once it says where it is."""
    until = time.perf_counter() + START_LIMIT_S
    while time.perf_counter() < until:
        program.alive()
        if (data / "hub.json").exists():
            return int(msgspec.json.decode((data / "hub.json").read_bytes())["url"].rsplit(":", 1)[1])
        time.sleep(START_POLL_S)
    raise StartError("the hub did not say where it is")


def core_sizes_mb() -> dict[str, float]:
    """What each package of the core takes on the disk here, byte-code included."""
    lines = (ROOT / "requirements" / "core.lock").read_text(encoding="utf-8").splitlines()
    names = [line.split("==")[0] for line in lines if line[:1].isalpha() and "==" in line]
    sizes = {}
    for name in names:
        files = metadata.distribution(name).files or []
        paths = {Path(str(file.locate())) for file in files}
        sizes[name] = sum(path.stat().st_size for path in paths if path.is_file()) / 1e6
    own = (ROOT / "src" / "ostler").rglob("*")
    sizes["ostler"] = sum(path.stat().st_size for path in own if path.is_file()) / 1e6
    return sizes


def core_mb() -> float:
    """All of them."""
    return sum(core_sizes_mb().values())
