"""The `Date` field (RFC 9110 5.6.7): the standard library's own writer is what ours is compared with."""

from __future__ import annotations

import time
from email.utils import formatdate
from unittest import mock

from hypothesis import example, given
from hypothesis import strategies as st

from asgiserve.connection.dates import HttpDate

LAST_OF_9999 = 253_402_300_799


@given(st.floats(min_value=0, max_value=LAST_OF_9999))
@example(951_782_400.0)  # 29 February 2000
@example(1_767_225_599.9)  # the last second of 2025
def test_the_date_is_an_imf_fixdate(now: float) -> None:
    with mock.patch.object(time, "time", return_value=now):
        assert HttpDate()() == formatdate(int(now), usegmt=True).encode()
