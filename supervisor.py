"""Hyperion's entry point: the fork server first, as its imports take longest; beside it all the rest.

Every actor runs this module again under another name (multiprocessing does that), so it imports
nothing that an actor does not need.
"""

import signal
import sys

from hyperion.actors import fork_server


def main() -> int:
    """Run one node until it is told to stop; return the exit code."""
    # Until the event loop has its own handlers; pid 1 would ignore what it does not handle.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    fork_server.launch()
    try:
        from hyperion.actors.boot import run_node  # noqa: PLC0415  (see above)

        return run_node(dev="--dev" in sys.argv[1:])
    finally:
        fork_server.end()


if __name__ == "__main__":
    sys.exit(main())
