"""nginx as the limit: it answers what the applications answer, from its configuration or from a file.

Called by `servers.py`. Ordinary settings; access log off, errors to the standard error.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import TYPE_CHECKING, Final

from apps import GREETING
from scratch import folder

if TYPE_CHECKING:
    from certificate import Pair

__all__ = ["configured", "found", "version"]

_CONFIGURATION: Final = """
daemon off;
{user}
worker_processes {workers};
worker_rlimit_nofile 20000;
pid {folder}/nginx-{port}.pid;
error_log stderr crit;
events {{ worker_connections 16384; }}
http {{
    access_log off;
    default_type text/plain;
    sendfile on;
    tcp_nopush on;
    keepalive_timeout 75;
    keepalive_requests 1000000000;
    client_body_temp_path {folder}/nginx-bodies;
    proxy_temp_path {folder}/nginx-proxied;
    fastcgi_temp_path {folder}/nginx-fastcgi;
    uwsgi_temp_path {folder}/nginx-uwsgi;
    scgi_temp_path {folder}/nginx-scgi;
    server {{
        listen 127.0.0.1:{port} {tls};
        {certificate}
        location / {{ return 200 "{greeting}"; }}
        location /files/ {{ alias {folder}/; }}
    }}
}}
"""


def found() -> str | None:
    """Where it is installed; Debian's is not on the path of everybody."""
    return shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")


def version(binary: str) -> dict[str, str]:
    try:
        said = subprocess.run([binary, "-v"], capture_output=True, text=True, check=True, timeout=10).stderr
    except (OSError, subprocess.SubprocessError):
        return {}
    return {"nginx": said.strip().rpartition("/")[2]}


def configured(port: int, pair: Pair | None, workers: int) -> list[str]:
    """Its arguments, when its configuration has been written."""
    text = _CONFIGURATION.format(
        # Started by root, its workers would become somebody who may not read the files.
        user="user root;" if os.geteuid() == 0 else "",
        workers=workers,
        folder=folder(),
        port=port,
        tls="ssl" if pair else "",
        certificate=f"ssl_certificate {pair.certfile}; ssl_certificate_key {pair.keyfile};" if pair else "",
        greeting=GREETING.decode(),
    )
    path = folder() / f"nginx-{port}.conf"
    path.write_text(text)
    return ["-c", str(path), "-p", str(folder()), "-e", "stderr"]
