"""A part of a body that comes from elsewhere is framed as if the writer had been given its bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from asgiserve.errors import LocalProtocolError
from tests.unit.protocols.responses import GET, GET_10, HEAD, LENGTH_2, sent

if TYPE_CHECKING:
    from asgiserve.events import RequestHead
    from tests.unit.protocols.responses import Fields


@pytest.mark.parametrize("trailers", [False, True])
@pytest.mark.parametrize("more", [False, True])
@pytest.mark.parametrize(("request_head", "fields"), [(GET, LENGTH_2), (GET, []), (GET_10, []), (HEAD, LENGTH_2)])
def test_what_stands_around_a_part_is_what_the_writer_would_put_around_its_bytes(
    request_head: RequestHead, fields: Fields, more: bool, trailers: bool
) -> None:
    given, told = sent(request_head, fields, trailers=trailers), sent(request_head, fields, trailers=trailers)
    whole = b"".join(given.body(b"hi", more))
    around = told.around(2, more)
    assert (b"" if around is None else around[0] + b"hi" + around[1]) == whole
    assert (around is None) == (request_head is HEAD)
    assert (told.complete, told.keep_alive) == (given.complete, given.keep_alive)


@pytest.mark.parametrize(("size", "more"), [(3, False), (3, True), (1, False)])
def test_a_part_that_breaks_the_length_is_refused(size: int, more: bool) -> None:
    writer = sent(GET, LENGTH_2)
    with pytest.raises(LocalProtocolError, match="than its Content-Length"):
        writer.around(size, more)
    assert not writer.keep_alive


def test_after_the_last_part_there_is_no_other() -> None:
    writer = sent(GET, LENGTH_2)
    writer.around(2, more=False)
    with pytest.raises(LocalProtocolError, match="in state COMPLETE"):
        writer.around(2, more=False)
