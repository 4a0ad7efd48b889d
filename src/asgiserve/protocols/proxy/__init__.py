"""What proxies in front of the server say of a connection or a request, without I/O.

    preface     the PROXY protocol's header, in front of a connection's first byte
    forwarded   `X-Forwarded-*` and `Forwarded` (RFC 7239), among a request's fields

Whether a peer is one of the proxies whose word is taken is asked by `connection/` before anything here is called.
What is garbage says nothing; nothing is guessed.
"""

from __future__ import annotations

from asgiserve.protocols.proxy.forwarded import Forwarding, read_forwarding, split_host
from asgiserve.protocols.proxy.preface import MAX_PREFACE, Preface, read_preface

__all__ = ["MAX_PREFACE", "Forwarding", "Preface", "read_forwarding", "read_preface", "split_host"]
