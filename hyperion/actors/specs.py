"""Which actors a node runs, and in what order they start: child specifications as data."""

from dataclasses import dataclass

from hyperion.settings import Settings

TITANS = ("Helios", "Eos", "Aethon", "Crius", "Iapetus", "Perses", "Phlegon", "Phoebe", "Theia", "Cronus")


@dataclass(frozen=True)
class ActorSpec:
    """One child of the supervisor. `name` is unique on its node, `kind` picks the code."""

    name: str
    kind: str


@dataclass(frozen=True, kw_only=True)
class Life:
    """One life of an actor: this process, on this node, under this boot id.

    `label` is the name shown to people, unique in the cluster. `restarts` counts the lives before
    this one since the node started.
    """

    spec: ActorSpec
    node: str
    label: str
    boot: int
    restarts: int


def plan(settings: Settings) -> list[list[ActorSpec]]:
    """List the tiers of this node in the order in which they start; they stop in reverse."""
    tiers = [
        [ActorSpec("reaper", "reaper")],
        [ActorSpec("metrics", "metrics")],
        [ActorSpec("archiver", "archiver")],
        [ActorSpec(name, "worker") for name in TITANS[: settings.workers]],
        [ActorSpec("web", "web")],
    ]
    return [tier for tier in tiers if tier[0].kind in settings.actors]


def label(name: str, *, node: str, has_bare_names: bool) -> str:
    """Return the name shown to people: bare on the first node, with `@node` on others."""
    return name if has_bare_names else f"{name}@{node}"
