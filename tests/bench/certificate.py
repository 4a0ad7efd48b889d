"""A certificate for 127.0.0.1 that lives as long as the benchmark, made by the `openssl` command."""

from __future__ import annotations

import atexit
import functools
import subprocess
import tempfile
from pathlib import Path
from typing import NamedTuple

__all__ = ["Pair", "certificate"]


class Pair(NamedTuple):
    """A certificate and its key, in PEM."""

    certfile: str
    keyfile: str


@functools.cache
def certificate() -> Pair:
    """The same for every server: ECDSA on P-256, as most sites have. Raises OSError, CalledProcessError."""
    folder = tempfile.TemporaryDirectory()
    atexit.register(folder.cleanup)
    pair = Pair(str(Path(folder.name, "cert.pem")), str(Path(folder.name, "key.pem")))
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    command += ["-days", "2", "-subj", "/CN=127.0.0.1", "-keyout", pair.keyfile, "-out", pair.certfile]
    subprocess.run(command, check=True, capture_output=True)
    return pair
