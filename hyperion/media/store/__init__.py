"""Where photos are kept: one interface, a folder of this machine, or a repository of the Hugging Face Hub."""

from hyperion.media.store.hub import HubStore
from hyperion.media.store.hub_client import Repository
from hyperion.media.store.interface import Item, Limits, Store
from hyperion.media.store.layered import Layered
from hyperion.media.store.local import LocalStore
from hyperion.settings import Settings

__all__ = ["HubStore", "Item", "Layered", "Limits", "LocalStore", "Store", "make_store", "store_name"]


def make_store(settings: Settings) -> Store:
    """Return the store of the settings. Raises StoreUnavailable where its folder cannot be made.

    With a repository, a local store that is there is read until its photos have been moved.
    """
    if not settings.hf_repo_id:
        return LocalStore(settings.store_dir, batch=settings.archive_batch)
    hub = make_hub(settings)
    return Layered(hub, LocalStore(settings.store_dir)) if settings.store_dir.is_dir() else hub


def make_hub(settings: Settings) -> HubStore:
    """Return the store in the repository of the settings."""
    repository = Repository(
        id=settings.hf_repo_id,
        endpoint=settings.hf_endpoint,
        token=settings.hf_token,
        is_private=settings.hub_private,
        use_xet=settings.hub_xet,
        connect_timeout_s=settings.hub_connect_timeout_s,
        timeout_s=settings.hub_timeout_s,
        paths_at_once=settings.hub_paths_at_once,
        cache=settings.var_dir / "hub",
    )
    limits = Limits(
        files=settings.archive_batch,
        most_files=max(settings.hub_most_files, settings.archive_batch),
        size_bytes=settings.hub_batch_bytes,
        most_bytes=max(settings.hub_spool_bytes, settings.hub_batch_bytes),
        linger_s=settings.hub_linger_s,
        commits_per_hour=settings.hub_commits_per_hour,
        burst=settings.hub_burst,
    )
    return HubStore(repository, limits=limits, spool=settings.var_dir / "spool")


def store_name(settings: Settings) -> str:
    """Return the name under which the state of the store is kept."""
    return f"hub:{settings.hf_repo_id}" if settings.hf_repo_id else "local"
