"""When the thread that decodes gets a core: after everybody else, and then for long."""

import ctypes
import os
import platform

NICE = 10  # what is in a transaction lets others wait, and must not wait for decoders
# Decoders take turns on a core, and each fills its cache anew with megabytes of picture and net: at the usual
# turns of 1.4 to 3 ms that is up to a tenth of all the work. Who is less nice comes first in any case.
TURN_S = 0.02

_libc = ctypes.CDLL(None, use_errno=True)
_SCHED_SETATTR = {"x86_64": 314, "aarch64": 274}  # glibc knows the call since 2.41


class _SchedAttr(ctypes.Structure):
    """From the kernel's sched/types.h, version 0. What `runtime_ns` means for an ordinary thread is its turn."""

    _fields_ = (
        ("size", ctypes.c_uint32),
        ("policy", ctypes.c_uint32),
        ("flags", ctypes.c_uint64),
        ("nice", ctypes.c_int32),
        ("priority", ctypes.c_uint32),
        ("runtime_ns", ctypes.c_uint64),
        ("deadline_ns", ctypes.c_uint64),
        ("period_ns", ctypes.c_uint64),
    )


def take_long_turns() -> None:
    """Let the calling thread yield to all that are less nice, and else keep its core for TURN_S.

    Kernels before 6.12 do not heed the turn; where it cannot be asked for, all stays as it is.
    """
    os.nice(NICE)
    if number := _SCHED_SETATTR.get(platform.machine()):
        wish = _SchedAttr(
            size=ctypes.sizeof(_SchedAttr), policy=os.SCHED_OTHER, nice=NICE, runtime_ns=int(TURN_S * 1e9)
        )
        _libc.syscall(number, 0, ctypes.byref(wish), 0)
