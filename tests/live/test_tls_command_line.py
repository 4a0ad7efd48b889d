"""TLS by the command line's options: curl, httpx and a WebSocket client, and certificates that change."""

from __future__ import annotations

import json
import re
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from tests.live.backends import one_loop_per_library
from tests.live.curl import curl, needs_curl
from tests.live.servers import PATIENCE, command
from tests.live.websocket_raw import talk_over_tls
from tests.support.certificates import Authority
from tests.support.processes import ran

if TYPE_CHECKING:
    import ssl

    from tests.live.backends import Backend
    from tests.live.conftest import LiveServers
    from tests.live.servers import ProcessServer
    from tests.support.certificates import Pair

pytestmark = [pytest.mark.live, one_loop_per_library]

APP = "tests.live.tls_site:app"


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
def pair(authority: Authority) -> Pair:
    return authority.pair("localhost", "127.0.0.1")


def asked_by_curl(server: ProcessServer, authority: Authority, *arguments: str | Path, host: str = "localhost") -> Any:
    """What the application was told."""
    there = (f"https://{host}:{server.port}/", "--resolve", f"{host}:{server.port}:127.0.0.1")
    return json.loads(curl("--cacert", authority.file, *arguments, *there)[0])


def sent_to(server: ProcessServer, context: ssl.SSLContext) -> str:
    """The certificate that a new client is sent, in PEM."""
    told: dict[str, Any] = httpx.get(server.url, verify=context, trust_env=False, timeout=PATIENCE).json()
    certificate = told["tls"]["server_cert"]
    assert isinstance(certificate, str)
    return certificate


@needs_curl
def test_curl_is_served_over_tls(live_server: LiveServers, authority: Authority, pair: Pair) -> None:
    server = live_server(APP, **pair.settings)

    assert server.urls == [f"https://127.0.0.1:{server.port}"]
    told = asked_by_curl(server, authority)
    assert (told["scheme"], told["tls"]["server_cert"]) == ("https", pair.certificate)


@needs_curl
def test_one_place_speaks_tls_and_another_plain_http(
    live_server: LiveServers, authority: Authority, pair: Pair
) -> None:
    server = live_server(APP, bind=["127.0.0.1:0", "127.0.0.1:0,tls=off"], **pair.settings)

    server.stderr.wait_for("running on http://")  # each place has a line
    secure, plain = server.urls
    assert (secure.partition(":")[0], plain.partition(":")[0]) == ("https", "http")
    assert json.loads(curl("--cacert", authority.file, secure)[0])["scheme"] == "https"
    told = json.loads(curl(plain)[0])
    assert (told["scheme"], told["tls"]) == ("http", None)


@needs_curl
def test_curl_sends_a_certificate_and_gets_that_of_its_host(
    live_server: LiveServers, authority: Authority, pair: Pair, tmp_path: Path
) -> None:
    two = authority.pair("two.test", name="two")
    own = tmp_path / "client.pem"
    authority.issue("me@x.test", common_name="Me").private_key_and_cert_chain_pem.write_to_path(str(own))
    server = live_server(
        APP,
        **pair.settings,
        ssl_cert_reqs=2,
        ssl_ca_certs=authority.file,
        ssl_sni=f"two.test={two.certfile},{two.keyfile}",
    )

    told = asked_by_curl(server, authority, "--cert", own, host="two.test")["tls"]
    assert told["server_cert"] == two.certificate
    assert told["client_cert_name"].startswith("CN=Me,")
    told = asked_by_curl(server, authority, "--cert", own, "--tls-max", "1.2")["tls"]
    assert (told["server_cert"], told["tls_version"]) == (pair.certificate, 0x0303)


@needs_curl
def test_curl_without_tls_is_told_what_to_do(live_server: LiveServers, pair: Pair) -> None:
    server = live_server(APP, **pair.settings)

    answer = curl("--include", f"http://127.0.0.1:{server.port}/")[0].decode()

    assert answer.startswith("HTTP/1.1 400 ")
    assert answer.endswith("This port speaks TLS, and the request came without it: use https://\n")


def test_httpx_keeps_its_connection_over_tls(live_server: LiveServers, authority: Authority, pair: Pair) -> None:
    server = live_server(APP, **pair.settings)

    with httpx.Client(base_url=server.url, verify=authority.client(), trust_env=False, timeout=PATIENCE) as client:
        told = [client.get("/").json() for _ in range(3)]

    assert told[0]["tls"]["tls_version"] == 0x0304
    assert told[1:] == told[:2]


def test_a_websocket_is_served_over_tls(live_server: LiveServers, authority: Authority, pair: Pair) -> None:
    server = live_server(APP, **pair.settings)

    told = json.loads(talk_over_tls(server, authority.client(), lambda client: client.recv()))

    assert (told["scheme"], told["tls"]["server_cert"]) == ("wss", pair.certificate)


def test_sighup_reads_certificates_again_and_keeps_connections(
    live_server: LiveServers, authority: Authority, pair: Pair
) -> None:
    server, before = live_server(APP, **pair.settings), pair.certificate
    context = authority.client()

    with httpx.Client(base_url=server.url, verify=context, trust_env=False, timeout=PATIENCE) as client:
        assert client.get("/").json()["tls"]["server_cert"] == before
        new = authority.pair("localhost", "127.0.0.1")
        server.process.send_signal(signal.SIGHUP)
        server.stderr.wait_for("The TLS certificates were read again.")
        assert client.get("/").json()["tls"]["server_cert"] == before
    assert sent_to(server, context) == new.certificate != before


def test_bad_files_at_a_sighup_change_nothing(live_server: LiveServers, authority: Authority, pair: Pair) -> None:
    server = live_server(APP, **pair.settings)
    before = pair.certificate
    pair.certfile.write_text("nothing")

    server.process.send_signal(signal.SIGHUP)

    server.stderr.wait_for("The TLS certificates stay as they were: ssl_certfile: there is no certificate in PEM")
    assert sent_to(server, authority.client()) == before


def test_sighup_without_certificates_ends_the_process_as_ever(live_server: LiveServers) -> None:
    server = live_server(APP)

    server.send_signal(signal.SIGHUP)

    assert server.wait_exit() == -signal.SIGHUP
    server.expected_code = -signal.SIGHUP


def test_files_that_make_no_sense_are_one_sentence_and_exit_code_3(
    anyio_backend: Backend, authority: Authority, pair: Pair
) -> None:
    other = authority.pair(name="other")
    settings = {"port": 0, "ssl_certfile": pair.certfile, "ssl_keyfile": other.keyfile}

    done = ran(command(APP, anyio_backend, settings))

    assert done.returncode == 3
    assert done.stderr.splitlines()[-1] == (
        f"Error: --ssl-keyfile: the key in {str(other.keyfile)!r} is not that of {str(pair.certfile)!r}"
    )


def test_the_application_of_the_page_on_https_greets_by_certificate(
    live_server: LiveServers, authority: Authority, pair: Pair
) -> None:
    page = (Path(__file__).parent.parent.parent / "docs/how-to/tls.md").read_text()
    application = re.findall(r"^```python\n(.+?)^```", page, re.MULTILINE | re.DOTALL)[0]
    names: dict[str, Any] = {}
    exec(application, names)
    server = live_server(
        names["app"], lifespan="off", **pair.settings, ssl_ca_certs=authority.file, ssl_cert_reqs="optional"
    )

    def greeting(context: ssl.SSLContext) -> str:
        url = f"https://127.0.0.1:{server.port}"
        return httpx.get(url, verify=context, trust_env=False, timeout=PATIENCE).text

    me = authority.issue("me@x.test", common_name="Me", organization_name="O", organization_unit_name="U")
    assert greeting(authority.client(me)) == "Hello, CN=Me,OU=U,O=O!\n"
    assert greeting(authority.client()) == "Hello, nobody!\n"
