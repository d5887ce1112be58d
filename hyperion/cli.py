"""Operations from a shell: `hyperion COMMAND`, against the database of the environment."""

import asyncio
import sys
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Any, TypeVar

import click

from hyperion import logs, queue
from hyperion.actors import mailbox
from hyperion.db import Database, load_queries, migrations
from hyperion.db.embedded import EmbeddedPostgres
from hyperion.errors import EXIT_BAD_CONFIGURATION, BadConfiguration, DatabaseUnavailable, HyperionError
from hyperion.media import photos, recovery
from hyperion.media.store import state as store_state
from hyperion.media.store import store_name
from hyperion.media.transaction import photo_transaction
from hyperion.model_commands import make_model_commands
from hyperion.queue import Wakeup
from hyperion.settings import Settings, documented, load
from hyperion.store_commands import make_store_commands

T = TypeVar("T")

SEND_WAIT_S = 2.0
SQL = load_queries("hyperion", "cli.sql")


@click.group()
@click.option("--dev", is_flag=True, help="Use the settings and the embedded Postgres of `make run`, which must be up.")
@click.pass_context
def main(context: click.Context, *, dev: bool) -> None:
    """Operate Hyperion. Settings come from the environment; `hyperion config` lists them."""
    logs.configure("warning")
    context.obj = dev


def _settings(dev: bool) -> Settings:
    try:
        settings = load(dev=dev)
    except BadConfiguration as error:
        for fault in error.faults:
            click.echo(fault, err=True)
        sys.exit(EXIT_BAD_CONFIGURATION)
    if dev and not settings.database_url:
        settings = replace(settings, database_url=EmbeddedPostgres(settings.var_dir).url("hyperion"))
    return settings


def _with_database(context: click.Context, act: Callable[[Database], Awaitable[T]]) -> T:
    settings = _settings(context.obj)

    async def run() -> T:
        async with Database(settings.database_url, name="operator", max_connections=2) as db:
            return await act(db)

    try:
        return asyncio.run(run())
    except DatabaseUnavailable as error:
        hint = "; is `make run` up, in this folder?" if settings.dev else ""
        raise click.ClickException(f"{error}{hint}") from error
    except HyperionError as error:
        raise click.ClickException(f"{type(error).__name__}: {error}") from error


@main.command()
@click.pass_context
def config(context: click.Context) -> None:
    """List every setting with its default, and check the values of the environment."""
    for name, default, meaning in documented():
        click.echo(f"{name:32} {default or '-':12} {meaning}")
    _settings(context.obj)
    click.echo("\nThe environment is fine. What it says of the model is checked by: hyperion model check")


@main.command()
@click.pass_context
def migrate(context: click.Context) -> None:
    """Bring the schema up to date."""
    settings = _settings(context.obj)
    logs.configure(settings.log_level, console=settings.dev and sys.stdout.isatty())
    logs.bind(actor="migrate")
    applied = migrations.apply(settings.database_url)
    logs.get_logger().info("schema.migrated", applied=applied)


@main.command()
@click.pass_context
def status(context: click.Context) -> None:
    """Show nodes, actors and how much each lane of the queue holds."""

    async def show(db: Database) -> None:
        for actor in await db.fetch(mailbox.SQL.list_actors):
            state = "paused" if actor["paused"] and actor["state"] == "ready" else actor["state"]
            click.echo(
                f"{actor['label']:16} {actor['kind']:9} {state:9} pid {actor['pid']:<8} "
                f"restarts {actor['restarts']:<4} beat {actor['silent_s']:.1f} s ago "
                f"task {actor['current_task_id'] or '-'}  (node {actor['node']}: {actor['node_state'] or 'gone'})"
            )
        depths = await queue.depths(db)
        for (lane, state), count in sorted(depths.items()):
            click.echo(f"lane {lane}: {count} {state}")
        if not depths:
            click.echo("the queue is empty")
        store = await store_state.show(db, store_name(settings))
        until = f" until {store.resumes_at:%H:%M:%S %Z}" if store.resumes_at else ""
        click.echo(f"store {store_name(settings)}: {store.state}{until}{f' ({store.detail})' if store.detail else ''}")

    settings = _settings(context.obj)
    _with_database(context, show)


@main.command()
@click.argument("task_ids", type=int, nargs=-1)
@click.option("--all", "everything", is_flag=True, help="All dead tasks.")
@click.pass_context
def retry(context: click.Context, task_ids: tuple[int, ...], *, everything: bool) -> None:
    """Bring dead tasks back with fresh attempts; without arguments list them."""

    async def act(db: Database) -> None:
        dead = await queue.list_dead(db, limit=1_000_000 if everything else 100)
        if not task_ids and not everything:
            if not dead:
                click.echo("no task is dead")
            for task in dead:
                click.echo(
                    f"{task.task_id} {task.lane}/{task.kind} died {task.died_at:%Y-%m-%d %H:%M:%S}: {task.error}"
                )
            return
        wakeup = Wakeup(db)
        waking = asyncio.create_task(wakeup.run())
        chosen = [task.task_id for task in dead] if everything else list(task_ids)
        revived = await recovery.revive(db, wakeup, chosen)
        await wakeup.flush(timeout_s=SEND_WAIT_S)
        waking.cancel()
        if task_ids and not revived:
            raise click.ClickException("none of these tasks is dead")
        click.echo(f"{_counted(revived, 'task')} brought back")

    _with_database(context, act)


async def _kinds_of(db: Database, actors: Sequence[str]) -> dict[str, str]:
    """Map all actors to their kinds, if those given are among them."""
    kinds = {row["label"]: row["kind"] for row in await db.fetch(mailbox.SQL.list_actors)}
    if strangers := [actor for actor in actors if actor not in kinds]:
        raise click.ClickException(f"no actor is named {strangers[0]}; there are {', '.join(kinds) or 'none'}")
    return kinds


def _message_command(verb: str, meaning: str) -> None:
    @main.command(name=verb, help=meaning)
    @click.argument("actors", nargs=-1, required=True)
    @click.pass_context
    def command(context: click.Context, actors: tuple[str, ...]) -> None:
        async def act(db: Database) -> None:
            kinds = await _kinds_of(db, actors)
            idle = [actor for actor in actors if kinds[actor] not in ("worker", "archiver")]
            if verb in ("pause", "resume") and idle:
                raise click.ClickException(f"{idle[0]} claims nothing that it could be kept from")
            for actor in actors:
                await mailbox.send(db, actor, verb)
            click.echo(f"told {', '.join(actors)} to {verb}")

        _with_database(context, act)


_message_command("pause", "Let actors (by name, say Helios) claim nothing more until `resume`.")
_message_command("resume", "Let paused actors go on.")
_message_command("drain", "Let actors finish what they hold and stay down until `restart`.")
_message_command("restart", "Give actors a new life; also those that are parked or drained.")


@main.command()
@click.argument("actor")
@click.argument("level", type=click.Choice(["debug", "info", "warning", "error"]))
@click.pass_context
def log_level(context: click.Context, actor: str, level: str) -> None:
    """Change the least level that a running actor logs."""

    async def act(db: Database) -> None:
        await _kinds_of(db, [actor])
        await mailbox.send(db, actor, "log_level", level)
        click.echo(f"told {actor} to log from {level} on")

    _with_database(context, act)


@main.command()
@click.option("--delete", "email", help="Delete the user with this email, with all photos.")
@click.pass_context
def users(context: click.Context, email: str | None) -> None:
    """List users with their number of photos, or delete one."""

    async def act(db: Database) -> Any:
        if email:
            async with photo_transaction(db, Wakeup(db)) as tx:
                paths = await tx.connection.fetch(SQL.lock_photos, email)
                await tx.enqueue([photos.erase_task(row["store_path"]) for row in paths])
                gone = await tx.connection.fetchval(SQL.delete_user, email)
            if not gone:
                raise click.ClickException("there is no such user")
            click.echo(f"deleted, {_counted(len(paths), 'photo')} with it")
            return
        for row in await db.fetch(SQL.list_users):
            click.echo(f"{row['id']} {row['email']} {row['created_at']:%Y-%m-%d} {_counted(row['photos'], 'photo')}")

    _with_database(context, act)


def _counted(number: int, thing: str) -> str:
    return f"{number} {thing}{'' if number == 1 else 's'}"


main.add_command(make_model_commands(_settings))
main.add_command(make_store_commands(_settings, _with_database))


if __name__ == "__main__":
    main()
