"""A worker's memory: how much of it a photo may take, and giving back what is free."""

import ctypes
import resource

import psutil

BYTES_A_PIXEL = 16  # what a decoder takes at most; measured: 15.4, of a WebP

# From glibc's malloc.h. A picture has 2 to 6 MB: asked of the kernel anew for each photo, they cost up to 1,700
# page faults, 4 % of all the work on it.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_KEPT_BYTES, _HEAP_BYTES = 16 << 20, 8 << 20
_libc = ctypes.CDLL(None)


class MemoryLimit:
    """Makes an allocation fail that would go beyond it, and knows how much is left.

    RLIMIT_DATA counts what is written to, not the libraries' mapped files and reserved addresses.
    """

    def __init__(self) -> None:
        self._limit_bytes = resource.RLIM_INFINITY

    def set(self, *, beyond_rest_bytes: int) -> None:
        """Let this process take so much more than it has now."""
        _, most = resource.getrlimit(resource.RLIMIT_DATA)
        self._limit_bytes = _taken_bytes() + beyond_rest_bytes
        resource.setrlimit(resource.RLIMIT_DATA, (self._limit_bytes, most))

    def has_room_for(self, pixels: int) -> bool:
        """Tell whether any decoder would find enough for a photo of so many pixels.

        Where it would not, what a decoder calls damage may well be a lack of memory: those of AVIF, HEIF
        and WebP, and the one of progressive JPEGs, make no difference between the two.
        """
        if self._limit_bytes == resource.RLIM_INFINITY:
            return True
        return self._limit_bytes - _taken_bytes() >= pixels * BYTES_A_PIXEL


def keep_memory() -> None:
    """Keep what a photo leaves free for the next one, until `give_memory_back`."""
    if hasattr(_libc, "mallopt"):  # glibc has it, musl does not heed it
        _libc.mallopt(_M_TRIM_THRESHOLD, _KEPT_BYTES)
        _libc.mallopt(_M_MMAP_THRESHOLD, _HEAP_BYTES)


def give_memory_back() -> None:
    """Return what photos have left free in the heap; ten workers would keep 80 MB of it."""
    if hasattr(_libc, "malloc_trim"):  # glibc has it, musl has not
        _libc.malloc_trim(0)


def _taken_bytes() -> int:
    taken: int = psutil.Process().memory_info().data
    return taken
