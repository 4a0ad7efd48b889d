"""Starts a program as systemd starts one with sockets: `activated.py NUMBER:NAME,… -- COMMAND`.

The descriptors are moved to 3, 4 and so on; LISTEN_PID is the program's, or what LISTEN_PID says already.
"""

from __future__ import annotations

import os
import sys


def main() -> None:
    sockets, dashes, *command = sys.argv[1:]
    assert dashes == "--"
    pairs = [one.split(":") for one in sockets.split(",")]
    # Aside first: a number may be one that another is moved to.
    aside = [os.dup2(int(number), 100 + at) for at, (number, _) in enumerate(pairs)]
    for number, _ in pairs:
        os.close(int(number))
    for at, number in enumerate(aside):
        os.dup2(number, 3 + at, inheritable=True)
        os.close(number)
    os.environ.setdefault("LISTEN_PID", str(os.getpid()))
    os.environ["LISTEN_FDS"] = str(len(pairs))
    os.environ["LISTEN_FDNAMES"] = ":".join(name for _, name in pairs)
    os.execvp(command[0], command)


main()
