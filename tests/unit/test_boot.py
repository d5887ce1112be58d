"""The start and the end of a supervisor's process, around the tree."""

import os
import subprocess
import sys

# The loop's pipe for signals is closed by then, and its handlers are being taken off.
SIGNALS_COME_WHILE_THE_LOOP_CLOSES = """
import asyncio, os
from hyperion.actors.boot import run_tree
from hyperion.errors import DatabaseUnavailable
from hyperion.settings import load

came = []

class Loop(asyncio.SelectorEventLoop):
    def remove_signal_handler(self, number):
        if self.is_closed():
            os.kill(os.getpid(), number)
            came.append(number.name)
        return super().remove_signal_handler(number)

with asyncio.Runner(loop_factory=Loop) as runner:
    try:
        runner.run(run_tree(load(dev=False)))
    except DatabaseUnavailable:
        pass
print(*sorted(came))
"""


def test_nobody_complains_of_signals_that_come_while_the_supervisors_loop_closes() -> None:
    own = {name: value for name, value in os.environ.items() if not name.startswith("HYPERION_")}
    nowhere = {
        "DATABASE_URL": "postgresql://nobody@127.0.0.1:1/nothing",
        "SECRET_KEY": "k" * 40,
        "HYPERION_START_BUDGET_S": "1",
    }
    command = [sys.executable, "-c", SIGNALS_COME_WHILE_THE_LOOP_CLOSES]

    done = subprocess.run(command, env=own | nowhere, capture_output=True, text=True, check=True)

    assert done.stdout.splitlines()[-1] == "SIGINT SIGQUIT SIGTERM"
    assert done.stderr == ""
