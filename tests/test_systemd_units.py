"""The units in examples/systemd: systemd understands them, and so does our command line."""

from __future__ import annotations

import configparser
import re
import shlex
import shutil
import sys
from pathlib import Path

import pytest

from tests.support.processes import ran

UNITS = Path(__file__).parent.parent / "examples" / "systemd"
SERVICE, SOCKET = UNITS / "asgiserve.service", UNITS / "asgiserve.socket"


def section(file: Path, name: str) -> dict[str, str]:
    parser = configparser.ConfigParser(interpolation=None, delimiters="=", comment_prefixes="#", strict=False)
    parser.optionxform = str  # type: ignore[assignment, method-assign]
    parser.read(file)
    return dict(parser[name])


def command() -> list[str]:
    return shlex.split(section(SERVICE, "Service")["ExecStart"])


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not here")
def test_systemd_finds_nothing_wrong_with_the_units(tmp_path: Path) -> None:
    # It also looks whether the program is there.
    (tmp_path / SERVICE.name).write_text(SERVICE.read_text().replace(command()[0], sys.executable))
    (tmp_path / SOCKET.name).write_text(SOCKET.read_text())

    words = ["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", SERVICE.name, SOCKET.name]
    done = ran(words, cwd=tmp_path)

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_command_line_understands_what_the_unit_starts(tmp_path: Path) -> None:
    program, *words = command()
    assert Path(program).name == "asgiserve"

    done = ran([sys.executable, "-m", "asgiserve", *words, "--print-config"], cwd=tmp_path)

    assert (done.returncode, done.stderr) == (0, "")
    assert 'app = "myproject.main:app"' in done.stdout


def test_the_service_leaves_the_sockets_to_systemd() -> None:
    """Otherwise there would be two places, and only one of them where clients wait during a restart."""
    assert not {"--bind", "--host", "--port", "--uds", "--fd"} & set(command())
    assert section(SOCKET, "Socket")["ListenStream"]
    assert section(SERVICE, "Unit")["Requires"] == SOCKET.name


def test_systemd_waits_longer_than_a_stop_takes() -> None:
    from asgiserve.config import Timeouts

    timeouts = Timeouts()
    longest = timeouts.graceful_shutdown + timeouts.lifespan_shutdown + 1
    assert int(section(SERVICE, "Service")["TimeoutStopSec"]) > longest


def test_the_page_about_systemd_shows_these_units() -> None:
    """Its blocks are excerpts: what they say is what the files say."""
    page = (UNITS.parent.parent / "docs/how-to/systemd.md").read_text()
    shown = [line for block in re.findall(r"```ini\n(.+?)```", page, re.DOTALL) for line in block.splitlines()]
    lines = {line for file in (SERVICE, SOCKET) for line in file.read_text().splitlines()}
    assert shown
    assert [line for line in shown if line and line not in lines] == []
