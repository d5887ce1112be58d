"""The start of a node, step by step: settings, logs, a database that is ready, then the tree."""

import asyncio
import os
import signal
import subprocess
import sys
from dataclasses import replace

import setproctitle

from hyperion import logs
from hyperion.actors import fork_server
from hyperion.actors.orphans import OrphanReaper
from hyperion.actors.stop import Stop
from hyperion.actors.supervisor import Supervisor
from hyperion.db import Database, migrations
from hyperion.db.embedded import EmbeddedPostgres
from hyperion.errors import EXIT_BAD_CONFIGURATION, BadConfiguration, DatabaseUnavailable, NodeTaken
from hyperion.media.detector import source
from hyperion.settings import Settings, check_port, load

EXIT_BUG = 1
EXIT_NO_DATABASE = 69  # EX_UNAVAILABLE of sysexits.h

log = logs.get_logger()


def run_node(*, dev: bool) -> int:
    """Run one node until it is told to stop; return the exit code."""
    logs.configure(console=dev and sys.stdout.isatty())
    try:
        settings = load(dev=dev)
        check_port(settings)
        settings = with_checked_model(settings)
    except BadConfiguration as error:
        log.error("configuration.refused", faults=error.faults)
        return EXIT_BAD_CONFIGURATION
    logs.configure(settings.log_level, console=dev and sys.stdout.isatty())
    logs.bind(actor="supervisor", node=settings.node)
    setproctitle.setproctitle(f"hyperion: supervisor {settings.node}")
    try:
        return run_with_database(settings)
    except KeyboardInterrupt:
        return 0
    except DatabaseUnavailable as error:
        log.error("database.unavailable", reason=str(error))
        return EXIT_NO_DATABASE
    except NodeTaken as error:
        log.error("node.name_taken", reason=str(error))
        return EXIT_BAD_CONFIGURATION
    except Exception:
        log.exception("supervisor.crashed")
        return EXIT_BUG


def with_checked_model(settings: Settings) -> Settings:
    """Make sure that the workers' model can be used, and name its file.

    An operator's model is fetched and tried in a process of its own, which takes the net's memory
    with it when it ends. Raises BadConfiguration.
    """
    if settings.detector != "onnx" or "worker" not in settings.actors:
        return settings
    if source.is_as_shipped(settings):
        return replace(settings, model=str(source.locate(settings)))
    command = [sys.executable, "-m", "hyperion.cli", *(["--dev"] if settings.dev else []), "model", "check", "--path"]
    environ = os.environ | {"SECRET_KEY": settings.secret_key}
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
    if done.returncode:
        raise BadConfiguration(done.stderr.strip().splitlines()[-1:] or ["the model cannot be checked"])
    return replace(settings, model=done.stdout.strip())


def run_with_database(settings: Settings) -> int:
    """Run the tree on the configured database, or on an embedded one that lives as long."""
    if settings.database_url:
        return asyncio.run(run_tree(settings))
    postgres = EmbeddedPostgres(settings.var_dir)
    try:
        postgres.start()
        settings = replace(settings, database_url=postgres.ensure_database("hyperion"))
        return asyncio.run(run_tree(settings, postgres))
    finally:
        postgres.stop()


async def run_tree(settings: Settings, postgres: EmbeddedPostgres | None = None) -> int:
    """Bring the schema up to date and run the supervisor."""
    loop = asyncio.get_running_loop()
    stop = Stop()
    stop.watch(loop)
    try:
        async with Database(settings.database_url, name=f"supervisor {settings.node}", max_connections=3) as db:
            if not await make_schema_current(settings, db, stop):
                return 0
            OrphanReaper(lambda: {fork_server.pid(), postgres.pid if postgres else None}).watch(loop)
            return await Supervisor(settings, db, stop, postgres=postgres).run()
    finally:
        # A loop closes its pipe for signals before it takes its handlers off; Python complains of one in between.
        signal.set_wakeup_fd(-1)


async def make_schema_current(settings: Settings, db: Database, stop: Stop) -> bool:
    """Wait for the database within the start-up budget and apply what is pending; False if stopped.

    The migrations run in a process of their own, which takes yoyo's memory with it when it ends.
    Raises DatabaseUnavailable.
    """
    pending = await stop.until_answered(lambda: migrations.pending(db), budget_s=settings.start_budget_s)
    if pending:
        command = [sys.executable, "-m", "hyperion.cli", *(["--dev"] if settings.dev else []), "migrate"]
        environ = os.environ | {"DATABASE_URL": settings.database_url, "SECRET_KEY": settings.secret_key}
        done = await asyncio.to_thread(subprocess.run, command, env=environ, check=False)
        if done.returncode:
            raise DatabaseUnavailable(f"the migrations failed with exit code {done.returncode}")
    return not stop.asked.is_set()
