"""TLS over any other stream, with the same contract.

What lives here: `handshake` and the `TlsStream` that comes of it. What does not: certificates and contexts
(`server/`), and deadlines: who calls `handshake` sets one.

Theory of operation. OpenSSL works on two buffers in memory and does no I/O: `_incoming` holds ciphertext to
be read by it, `_outgoing` ciphertext to be sent. Receiving decrypts what is there and fetches more if that
is not enough; sending encrypts a slice and flushes. anyio's TLSStream does the same, but has no half-close,
other errors, and no way to add them from outside.

`_outgoing` has two writers, for OpenSSL also speaks of its own accord: it answers a key update while we
only receive (RFC 8446 4.6.3). Its answers go out in front of what we send next, or before `receive` fetches
more, so they cannot pile up; a lock keeps the two flushes in order.

After close_notify from either side that side is finished, the other is not (RFC 8446 6.1). A peer that
sends FIN without close_notify has ended its side as well: HTTP requests say how long they are, so one that
was cut short is noticed. OpenSSL is not told of such a FIN: since version 3 it takes one for a fatal error of the
whole connection, and would neither write nor say goodbye any more.
"""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, Any

from anyio import BrokenResourceError, BusyResourceError, EndOfStream, Lock
from anyio.streams.tls import TLSAttribute

from asgiserve.streams.pieces import SLICE_SIZE
from asgiserve.streams.server_names import names_unsaid
from asgiserve.streams.stream import ENDED, OPEN, Stream

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["TlsStream", "handshake"]


async def handshake(
    stream: Stream, ssl_context: ssl.SSLContext, *, server_hostname: str | None = None, received: bytes = b""
) -> TlsStream:
    """Shake hands over `stream`: as the server, or with `server_hostname` as its client.

    :param received: what has been read from the stream already
    :raises BrokenResourceError: the handshake failed, because of the ssl error that is its cause; closing
        `stream` is left to the caller
    """
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    incoming.write(received)
    tls = ssl_context.wrap_bio(incoming, outgoing, server_side=server_hostname is None, server_hostname=server_hostname)
    secured = TlsStream(stream, tls, incoming, outgoing)
    await secured._shake_hands()
    return secured


class TlsStream(Stream):
    """See the module's docstring; made by `handshake`. Closing it closes the stream below."""

    __slots__ = (
        "_dry",
        "_flush_waits",
        "_flushing",
        "_incoming",
        "_interrupted",
        "_outgoing",
        "_receive_waits",
        "_send_waits",
        "_stream",
        "_tls",
        "_unread",
    )

    def __init__(self, stream: Stream, tls: ssl.SSLObject, incoming: ssl.MemoryBIO, outgoing: ssl.MemoryBIO) -> None:
        super().__init__()
        self._stream = stream
        self._tls = tls
        self._incoming = incoming
        self._outgoing = outgoing
        self._flushing = Lock(fast_acquire=True)
        self._unread = bytearray()
        """Plaintext that `send_eof` had to get out of OpenSSL's way."""
        self._dry = False
        """There is nothing to receive before more has come: no plaintext anywhere, no ciphertext that is unread."""
        self._flush_waits = False
        """Somebody holds `_flushing`: the stream below may be busy, and what is sent has to go behind that."""
        self._interrupted = False
        self._receive_waits = False
        self._send_waits = False

    @property
    def extra_attributes(self) -> Mapping[Any, Callable[[], Any]]:
        """anyio's TLSAttribute on top of what the stream below has."""
        tls = self._tls
        return {
            **self._stream.extra_attributes,
            TLSAttribute.alpn_protocol: tls.selected_alpn_protocol,
            TLSAttribute.channel_binding_tls_unique: tls.get_channel_binding,
            TLSAttribute.cipher: tls.cipher,
            TLSAttribute.peer_certificate: lambda: tls.getpeercert(False),
            TLSAttribute.peer_certificate_binary: lambda: tls.getpeercert(True),
            TLSAttribute.server_side: lambda: tls.server_side,
            TLSAttribute.shared_ciphers: tls.shared_ciphers,
            TLSAttribute.standard_compatible: lambda: False,
            TLSAttribute.ssl_object: lambda: tls,
            TLSAttribute.tls_version: tls.version,
        }

    def peer_closed(self) -> bool:
        return self._receiving is not OPEN or self._stream.peer_closed()

    # --- receiving ----------------------------------------------------------------------------------------

    async def receive(self, max_bytes: int = 65536) -> bytes:
        if self._receive_waits:
            raise BusyResourceError("receiving from")
        self._receive_waits = True
        try:
            while True:
                if not self._dry or self._receiving is not OPEN:
                    data = self._receive_now(max_bytes)
                    if data is not None:
                        return data
                if self._interrupted:
                    return b""
                if self._outgoing.pending and self._sending is OPEN:
                    await self._answer()
                    continue
                try:
                    ciphertext = await self._stream.receive()
                except EndOfStream:
                    raise self._cut_short() from None
                self._incoming.write(ciphertext)
                self._dry = not ciphertext  # interrupted
        finally:
            self._receive_waits = self._interrupted = False

    def interrupt(self) -> None:
        if self._receive_waits:
            self._interrupted = True
            self._stream.interrupt()

    def receive_nowait(self) -> bytes:
        if self._receive_waits:
            raise BusyResourceError("receiving from")
        while (data := self._receive_now(65536)) is None:
            try:
                self._incoming.write(self._stream.receive_nowait())
            except EndOfStream:
                raise self._cut_short() from None
            self._dry = False
        return data

    def _cut_short(self) -> Exception:
        """What `receive` raises at a FIN without close_notify: OpenSSL has given out all that came before it."""
        self._end_receiving()
        return self._receive_error()

    async def _answer(self) -> None:
        """Send what OpenSSL has said of its own accord; a peer that has left may have said more before."""
        try:
            await self._flush()
        except BrokenResourceError as exc:
            self._break_sending(exc.__cause__)

    def _receive_now(self, max_bytes: int) -> bytes | None:
        """Plaintext, if there is enough ciphertext for any; None otherwise."""
        if self._unread:
            data = bytes(self._unread[:max_bytes])
            del self._unread[:max_bytes]
            return data
        if self._receiving is not OPEN:
            raise self._receive_error()
        if self._dry:
            return None  # as OpenSSL would say, but its exception costs as much as a record
        try:
            data = self._tls.read(max_bytes)
            # It reads one record at a time, and keeps what did not fit.
            self._dry = len(data) < max_bytes and not self._incoming.pending
        except ssl.SSLWantReadError:
            self._dry = True
            return None
        except ssl.SSLZeroReturnError:
            data = b""
        except ssl.SSLError as exc:
            self._break(exc)
            raise self._receive_error() from exc
        if not data:
            self._receiving = ENDED
            raise self._receive_error()
        return data

    # --- sending ------------------------------------------------------------------------------------------

    def send_nowait(self, item: bytes | memoryview) -> bool:
        if self._rest is not None:
            raise BusyResourceError("sending to")
        if self._sending is not OPEN:
            raise self._send_error()
        if len(item) > SLICE_SIZE or self._flush_waits:
            self._rest = memoryview(item)
            return False
        try:
            self._tls.write(item)
            if self._stream.send_nowait(self._outgoing.read()):
                return True
        except ssl.SSLError as exc:
            self._break(exc)
            raise self._send_error() from exc
        except BrokenResourceError as exc:
            self._break_sending(exc.__cause__)
            raise
        except BusyResourceError:
            raise AssertionError("the stream below is busy only while somebody flushes it") from None
        self._rest = memoryview(b"")  # encrypted as a whole; the stream below holds what is left of it
        return False

    async def flush(self) -> bool:
        rest = self._rest
        if rest is None:
            return True
        if self._send_waits:
            raise BusyResourceError("sending to")
        self._rest_can_be_sent()
        self._send_waits = True
        try:
            await self._flush()
            if rest:  # not encrypted yet
                self._tls.write(rest[:SLICE_SIZE])
                await self._flush()
        except ssl.SSLError as exc:
            self._rest = None
            self._break(exc)
            raise self._send_error() from exc
        except BrokenResourceError as exc:
            self._rest = None
            self._break_sending(exc.__cause__)
            raise
        except BaseException:
            self._rest = None
            self._break_sending()
            raise
        finally:
            self._send_waits = False
        self._rest = rest[SLICE_SIZE:] or None
        return self._rest is None

    async def _flush(self) -> None:
        async with self._flushing:
            self._flush_waits = True
            try:
                while not await self._stream.flush():
                    pass
                if self._outgoing.pending:
                    await self._stream.send(self._outgoing.read())
            finally:
                self._flush_waits = False

    async def send_eof(self) -> None:
        """Send close_notify, then the FIN of the stream below."""
        if self._send_waits or self._rest is not None:
            raise BusyResourceError("sending to")
        if self._sending is ENDED:
            return
        if self._sending is not OPEN:
            raise self._send_error()
        self._send_waits = True
        try:
            self._say_goodbye()
            await self._flush()
            await self._stream.send_eof()
        except BaseException:
            self._break_sending()
            raise
        finally:
            self._send_waits = False
        self._sending = ENDED

    def _say_goodbye(self) -> None:
        # OpenSSL looks for the peer's close_notify too, and fails for good if it finds data: take that out.
        self._set_aside_unread()
        try:
            self._tls.unwrap()
        except ssl.SSLWantReadError:
            pass  # ours is written; the peer's has not come yet
        except ssl.SSLError as exc:
            self._break(exc)
            raise self._send_error() from exc

    def _set_aside_unread(self) -> None:
        # At most what one read brought: 64 KiB of ciphertext.
        if self._receiving is not OPEN:
            return
        aside = bytearray()
        try:
            while data := self._receive_now(65536):
                aside += data
        except EndOfStream:
            pass
        self._unread = aside
        self._dry = False

    # --- opening and closing ------------------------------------------------------------------------------

    async def _shake_hands(self) -> None:
        while True:
            try:
                self._step()
            except ssl.SSLWantReadError:
                await self._flush()
                await self._fetch()
            except ssl.SSLError as exc:
                await self._send_alert()
                raise BrokenResourceError from exc
            else:
                break
        await self._flush()

    def _step(self) -> None:
        if self._tls.context.sni_callback is None:
            self._tls.do_handshake()
            return
        with names_unsaid():
            self._tls.do_handshake()

    async def _fetch(self) -> None:
        try:
            self._incoming.write(await self._stream.receive())
        except EndOfStream:
            self._incoming.write_eof()

    async def _send_alert(self) -> None:
        """Tell the peer why, if it still listens."""
        try:
            await self._flush()
        except BrokenResourceError:
            pass

    async def aclose(self) -> None:
        """Close both halves, without close_notify, which might wait for the peer: call `send_eof` first."""
        self._close_halves()
        self._unread.clear()
        await self._stream.aclose()

    def abort(self) -> None:
        self._close_halves()
        self._unread.clear()
        self._stream.abort()
