"""Imported once by the fork server, so that every actor starts with all code in shared memory.

Nothing here may open a socket or start a thread: what is forked must be inert.
"""

import gc
import importlib
import os
import pkgutil
import signal

import setproctitle

import hyperion.actors.fork_server

__all__ = ["hyperion", "pkgutil"]  # what it takes to run supervisor.py again, as every actor does

setproctitle.setproctitle("hyperion: fork server")
importlib.import_module("hyperion.actors.entry")
if os.environ.get("HYPERION_DETECTOR") != "simulated":
    importlib.import_module("hyperion.media.detector.onnx")  # takes the net's runtime along
# A SIGTERM for the whole group or control group means the supervisor, which stops the actors in
# order; without a fork server they would be killed at once.
signal.signal(signal.SIGTERM, signal.SIG_IGN)
# Everything imported by now stays: keep the collector from touching it, and so from copying its pages.
gc.collect()
gc.freeze()
