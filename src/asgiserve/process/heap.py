"""What the process's allocator does with memory that bodies have used. Linux's glibc only; elsewhere nothing happens.

glibc gives the end of its heap back as soon as 128 KiB there are free, and takes it again, page by page, for the next
request: of a POST of 100 KiB on asyncio that was 60 of 147 µs, 24 page faults each. But whoever frees a large block
tells it that large blocks come and go, and it then keeps up to twice that size (mallopt(3), M_MMAP_THRESHOLD: both
thresholds move by themselves, unless the environment has set one). Called once, by what runs a server as a program.
"""

from __future__ import annotations

from typing import Final

__all__ = ["keep_heap"]

_LARGE: Final = 8 * 1024 * 1024
"""So 16 MiB are kept: the bodies of 64 requests of 100 KiB, of each an original and a copy. Nothing of it is touched
here: fresh zeroes are the kernel's."""


def keep_heap() -> None:
    """Let the allocator keep what a burst of bodies has used, up to 16 MiB."""
    bytes(_LARGE)
