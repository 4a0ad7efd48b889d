"""What malloc keeps: bodies that come and go must not cost page faults for each."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

_BURSTS = """
import resource, sys
from asgiserve.process.heap import keep_heap
if sys.argv[1] == "kept":
    keep_heap()
def burst():
    return [bytes(range(256)) * 400 for _ in range(64)]
burst()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    burst()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""
"""Twenty times 64 blocks of 100 KiB, freed at once."""


def faults(way: str) -> int:
    environment = {"PYTHONPATH": ":".join(filter(None, sys.path)), "PATH": ""}  # nothing that tunes malloc
    ran = subprocess.run([sys.executable, "-c", _BURSTS, way], env=environment, capture_output=True, check=True)
    return int(ran.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other allocators keep what they want")
def test_memory_that_bodies_have_used_is_kept_for_the_next() -> None:
    assert faults("kept") * 10 < faults("not kept")
