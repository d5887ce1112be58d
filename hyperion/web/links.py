"""The URLs under which a photo can be fetched."""

from uuid import UUID

from hyperion.media.store import Store


def image_url(store: Store, media_id: UUID, store_path: str, *, is_stored: bool) -> str | None:
    """Return a URL that works as it stands, or None until the photo is stored."""
    if not is_stored:
        return None
    return store.public_url(store_path) or f"/api/media/{media_id}/image"


def thumbnail_url(media_id: UUID, *, has_thumbnail: bool) -> str | None:
    """Return the URL of the small picture, or None until there is one."""
    return f"/api/media/{media_id}/thumbnail" if has_thumbnail else None
