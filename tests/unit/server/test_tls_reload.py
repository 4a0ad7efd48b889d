"""Certificates that change while the server runs: who gets the new one, and what happens to bad ones."""

from __future__ import annotations

import gc
import logging
import os
import resource
import shutil
import ssl
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from anyio.streams.tls import TLSAttribute

from tests.support.certificates import Authority
from tests.unit.server.apps import hello
from tests.unit.server.running import running
from tests.unit.server.test_tls import secured
from tests.unit.streams.conftest import CONTEXTS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.support.certificates import Pair
    from tests.unit.server.running import Run

pytestmark = pytest.mark.anyio

LOOK = 5.1
"""Longer than the files go unseen."""


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


async def certificate_of(run: Run, authority: Authority) -> str:
    """What a new client is sent."""
    client = await secured(run.connect().stream, authority.client())
    assert (await client.get()).status == 200
    return ssl.DER_cert_to_PEM_cert(client.stream.extra(TLSAttribute.peer_certificate_binary))  # type: ignore[arg-type]


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if "certificates" in record.getMessage()]


async def test_a_changed_certificate_is_used_for_new_connections_within_five_seconds(
    authority: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "asgiserve")
    old = authority.pair()
    async with running(hello, **old.settings) as run:
        before = old.certificate
        assert await certificate_of(run, authority) == before
        new = authority.pair()
        assert await certificate_of(run, authority) == before
        await anyio.sleep(LOOK)
        assert await certificate_of(run, authority) == new.certificate != before
    assert lines(caplog) == ["The TLS certificates were read again."]


async def test_a_connection_that_is_open_goes_on_when_its_certificate_changes(authority: Authority) -> None:
    pair = authority.pair()
    async with running(hello, **pair.settings) as run:
        client = await secured(run.connect().stream, authority.client())
        authority.pair()
        await anyio.sleep(LOOK)
        assert (await client.get()).status == 200


async def test_a_handshake_that_has_begun_ends_with_the_certificate_that_it_began_with(authority: Authority) -> None:
    pair = authority.pair()
    before = pair.certificate
    async with running(hello, **pair.settings) as run:
        client, up, down = authority.client(), ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = client.wrap_bio(down, up, server_hostname="localhost")
        raw = run.connect()
        with pytest.raises(ssl.SSLWantReadError):
            tls.do_handshake()
        hello_message = up.read()
        await raw.send(hello_message[:50])
        await anyio.sleep(0.1)
        authority.pair()
        await anyio.sleep(LOOK)
        await raw.send(hello_message[50:])
        while True:
            try:
                tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                down.write(await raw.read())
        assert ssl.DER_cert_to_PEM_cert(tls.getpeercert(True)) == before


def cuts_it_short(pair: Pair) -> None:
    pair.certfile.write_bytes(pair.certfile.read_bytes()[:100])


def removes_it(pair: Pair) -> None:
    pair.keyfile.unlink()


def writes_another_key(pair: Pair) -> None:
    Authority(pair.certfile.parent, "another").pair(name="other")
    (pair.certfile.parent / "other.key").replace(pair.keyfile)


@pytest.mark.parametrize(
    ("operator_that", "complaint"),
    [
        (cuts_it_short, "ssl_certfile: there is no certificate in PEM in "),
        (removes_it, "ssl_keyfile: cannot read "),
        (writes_another_key, "ssl_keyfile: the key in "),
    ],
)
async def test_files_that_cannot_be_used_change_nothing_and_are_told_once(
    authority: Authority, operator_that: Callable[[Pair], None], complaint: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "asgiserve")
    pair = authority.pair()
    before = pair.certificate
    async with running(hello, **pair.settings) as run:
        operator_that(pair)
        await anyio.sleep(10 * LOOK)
        assert await certificate_of(run, authority) == before
        (line,) = lines(caplog)
        assert line.startswith(f"The TLS certificates stay as they were: {complaint}")
        repaired = authority.pair().certificate
        await anyio.sleep(LOOK)
        assert await certificate_of(run, authority) == repaired


@contextmanager
def no_descriptor_left() -> Iterator[None]:
    """Nothing can be opened in the block."""
    gc.collect()  # what would give one back
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest = os.dup(0)
    os.close(lowest)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def test_files_that_cannot_be_read_for_the_moment_are_read_later(
    authority: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "asgiserve")
    async with running(hello, **authority.pair().settings) as run:
        new = authority.pair()
        with no_descriptor_left():
            await anyio.sleep(10 * LOOK)
            (line,) = lines(caplog)
            run.server.reload_certificates()
            await anyio.sleep(LOOK)
        assert lines(caplog) == [line, line]  # who asks is answered
        assert line.endswith("too many open files")
        await anyio.sleep(LOOK)
        assert await certificate_of(run, authority) == new.certificate
        await anyio.sleep(10 * LOOK)
    assert lines(caplog)[2:] == ["The TLS certificates were read again."]


async def test_a_link_that_is_turned_to_other_files_is_a_change(authority: Authority, tmp_path: Path) -> None:
    """As certbot and Kubernetes do it: the files that the settings name are links, through a directory's link."""
    old, new = authority.pair(name="old"), authority.pair(name="new")
    for name, pair in (("1", old), ("2", new)):
        (tmp_path / name).mkdir()
        pair.certfile.rename(tmp_path / name / "tls.crt")
        pair.keyfile.rename(tmp_path / name / "tls.key")
    current, certfile = tmp_path / "current", tmp_path / "tls.crt"
    current.symlink_to("1")
    certfile.symlink_to("current/tls.crt")
    before = read(certfile)
    async with running(hello, ssl_certfile=certfile, ssl_keyfile=current / "tls.key") as run:
        assert await certificate_of(run, authority) == before
        (tmp_path / "next").symlink_to("2")
        (tmp_path / "next").replace(current)
        await anyio.sleep(LOOK)
        assert await certificate_of(run, authority) == read(certfile) != before


def read(path: Path) -> str:
    return ssl.DER_cert_to_PEM_cert(ssl.PEM_cert_to_DER_cert(path.read_text()))


async def test_files_that_stay_are_not_read_again(authority: Authority, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "asgiserve")
    pair = authority.pair()
    async with running(hello, **pair.settings) as run:
        await anyio.sleep(20 * LOOK)
        assert await certificate_of(run, authority) == pair.certificate
    assert lines(caplog) == []


async def test_the_files_are_read_at_once_when_the_program_says_so(authority: Authority) -> None:
    pair = authority.pair()
    async with running(hello, **pair.settings) as run:
        new = authority.pair()
        run.server.reload_certificates()
        assert await certificate_of(run, authority) == new.certificate


async def test_other_hosts_certificates_and_the_authorities_of_clients_are_read_again_too(
    authority: Authority, tmp_path: Path
) -> None:
    pair, two = authority.pair(), authority.pair("two.test", name="two")
    verify = {"ssl_cert_reqs": "required", "ssl_ca_certs": authority.file}
    other = Authority(tmp_path, "other")
    async with running(hello, **pair.settings, **verify, ssl_sni=[two.sni("two.test")]) as run:

        async def asks(host: str) -> str:
            context: Any = authority.client(other.issue("me@x.test"))
            client = await secured(run.connect().stream, context, host)
            assert (await client.get()).status == 200
            return ssl.DER_cert_to_PEM_cert(client.stream.extra(TLSAttribute.peer_certificate_binary))  # type: ignore[arg-type]

        with pytest.raises(ssl.SSLError, match="UNKNOWN_CA"):
            await asks("two.test")
        authority.file.write_bytes(other.file.read_bytes())
        new = authority.pair("two.test", name="two")
        await anyio.sleep(LOOK)
        assert await asks("two.test") == new.certificate
        assert await asks("localhost") == pair.certificate


async def test_a_context_of_ones_own_is_never_replaced() -> None:
    async with running(hello, ssl_context=CONTEXTS.server) as run:
        run.server.reload_certificates()
        assert (await (await secured(run.connect().stream)).get()).status == 200


def changes_its_mode(path: Path) -> None:
    path.chmod(0o640)


def replaces_it_by_a_faithful_copy(path: Path) -> None:
    shutil.copy2(path, path.with_suffix(".copy"))
    path.with_suffix(".copy").replace(path)


def touches_it(path: Path) -> None:
    path.touch()


@pytest.mark.parametrize("operator_that", [changes_its_mode, replaces_it_by_a_faithful_copy, touches_it])
@pytest.mark.parametrize("setting", ["ssl_certfile", "ssl_keyfile", "ssl_ca_certs"])
async def test_whatever_may_be_a_change_is_looked_into(
    authority: Authority, operator_that: Callable[[Path], None], setting: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A file that was not readable, or was replaced by another of its size within a tick of the disk's clock."""
    caplog.set_level(logging.INFO, "asgiserve")
    settings = {**authority.pair().settings, "ssl_ca_certs": str(authority.file), "ssl_cert_reqs": "optional"}
    async with running(hello, **settings):
        operator_that(Path(settings[setting]))
        await anyio.sleep(LOOK)
    assert lines(caplog) == ["The TLS certificates were read again."]
