"""What a fork is told to run. The supervisor imports this module and none of the actors' code."""

from hyperion.actors.specs import Life
from hyperion.settings import Settings


def run_actor(life: Life, settings: Settings) -> None:
    """Live one life of an actor; the code is there already, by the fork server's preloading."""
    from hyperion.actors.entry import run  # noqa: PLC0415

    run(life, settings)
