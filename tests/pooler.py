"""A real PgBouncer before a test server: each transaction may meet another session, as behind a pooler of users."""

import os
import pwd
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

from tests.postgres_server import answers, free_port

WITHOUT_POOLER = bool(os.environ.get("WITHOUT_POOLER"))
SETTINGS = """\
[databases]
* = host=127.0.0.1 port={server} user=ostler
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
max_client_conn = 400
default_pool_size = 4
logfile = {folder}/log
pidfile = {folder}/pid
server_reset_query =
"""
"""Few sessions for many clients and nothing reset between them: whoever relies on a session of their own fails."""


def program() -> str | None:
    """Where PgBouncer is; `None` where it is not installed."""
    return os.environ.get("OSTLER_PGBOUNCER") or shutil.which("pgbouncer", path=f"{os.defpath}:/usr/sbin:/sbin")


class Pooler:
    """One pooler in transaction mode. Use it in a `with`; `url` gives an address of the server that goes through it."""

    def __init__(self, server_port: int) -> None:
        found = program()
        assert found is not None
        self.port = free_port()
        self._folder = Path(tempfile.mkdtemp(prefix="ostler-pooler-"))
        settings = self._folder / "pgbouncer.ini"
        settings.write_text(SETTINGS.format(server=server_port, port=self.port, folder=self._folder), encoding="utf-8")
        identity: tuple[str, ...] = ()
        if os.geteuid() == 0:  # it will not run as root
            nobody = pwd.getpwnam("nobody")
            os.chown(self._folder, nobody.pw_uid, nobody.pw_gid)
            identity = ("-u", "nobody")
        self._popen = subprocess.Popen(
            [found, "-q", *identity, str(settings)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )

    def __enter__(self) -> Self:
        assert answers(f"postgresql://ostler@127.0.0.1:{self.port}/postgres"), (self._folder / "log").read_text()
        return self

    def __exit__(self, *_: object) -> None:
        self._popen.terminate()
        self._popen.wait(10)
        shutil.rmtree(self._folder, ignore_errors=True)

    def url(self, direct: str) -> str:
        """The same database, through the pooler."""
        parts = urlsplit(direct)
        return parts._replace(netloc=f"{parts.username}@127.0.0.1:{self.port}").geturl()
