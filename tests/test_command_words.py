"""Ordinary command lines are read without typer: what it would have made of them, or nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from asgiserve.command_words import FILES, SHOWN, flag_of, read
from asgiserve.typer_command import run

if TYPE_CHECKING:
    from collections.abc import Sequence

APP = "package.module:app"

FLAGS = sorted(
    {
        *(option.flag for option in SHOWN.values()),
        *(f"--no-{option.flag[2:]}" for option in SHOWN.values() if option.form is None),
        *map(flag_of, FILES),
    }
)


def typers(words: Sequence[str]) -> dict[str, Any] | None:
    """What typer makes of the words; None if it does something else than to start with them."""
    taken: list[dict[str, Any]] = []

    def start(**values: Any) -> int:
        taken.append(values)
        return 0

    with pytest.raises(SystemExit):
        run(start, words)
    if not taken:
        return None
    (values,) = taken
    others = [values.pop(name) for name in ("print_config", "check")]
    return None if any(others) else values


WORDS = st.one_of(
    st.sampled_from(FLAGS),
    st.builds("{}={}".format, st.sampled_from(FLAGS), st.sampled_from(["", "1", "a b", "-1", "é", "true", "a=b"])),
    st.sampled_from([APP, "", "-", "--", "1", "-1", "-x", "--ws-per-message-deflate", "true", "no", "\udcff", "a\nb"]),
    st.sampled_from(["--help", "-h", "--version", "--check", "--print-config", "--por", "--nothing", "-p"]),
)


@given(st.lists(WORDS, max_size=6))
@example([APP, "--port", "80", "--header", "a: b", "--header=c: d", "--port=81", "--no-access-log", "--access-log"])
@example(["--ws-per-message-deflate", "true", APP])
@example(["--ws-per-message-deflate=no", APP])
@example(["--ws-per-message-deflate", APP])
def test_what_is_read_here_typer_reads_alike(words: list[str]) -> None:
    here = read(words)

    if here is not None:
        assert here == typers(words)


@pytest.mark.parametrize("name", SHOWN)
def test_every_setting_is_read_here(name: str) -> None:
    option = SHOWN[name]
    words = [APP, option.flag] if option.form is None else [APP, option.flag, "1"]

    here = read(words)

    assert here is not None
    assert here[name] == (True if option.form is None else ["1"] if option.repeatable else "1")
    assert here == typers(words)


@pytest.mark.parametrize(
    "words",
    [
        ["--help"],
        ["-h"],
        ["--version"],
        ["--check", APP],
        ["--print-config"],
        ["--show-completion"],
        [APP, "--nothing"],
        [APP, "another:app"],
        [APP, "--port"],
        [APP, "--port", "--host", "::1"],
        [APP, "--factory=true"],
        ["--", APP],
        [APP, "--log-config", "\udcff.toml"],
    ],
)
def test_what_is_not_ordinary_is_left_to_typer(words: list[str]) -> None:
    assert read(words) is None
