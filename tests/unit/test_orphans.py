"""What pid 1 does with the signals of its children's deaths."""

import subprocess
import sys

# The loop's pipe for signals is closed by then, and its handlers are being taken off.
A_CHILD_DIES_WHILE_THE_LOOP_CLOSES = """
import asyncio, os, signal
from hyperion.actors.orphans import OrphanReaper
from hyperion.actors.stop import Stop

class Loop(asyncio.SelectorEventLoop):
    def remove_signal_handler(self, number):
        if self.is_closed():
            os.kill(os.getpid(), signal.SIGCHLD)
        return super().remove_signal_handler(number)

loop = Loop()
Stop().watch(loop)
with OrphanReaper(set).watching(loop):
    pass
loop.close()
"""


def test_nobody_complains_of_a_child_that_dies_while_the_supervisors_loop_closes() -> None:
    command = [sys.executable, "-c", A_CHILD_DIES_WHILE_THE_LOOP_CLOSES]

    done = subprocess.run(command, capture_output=True, text=True, check=True)

    assert (done.stdout, done.stderr) == ("", "")
