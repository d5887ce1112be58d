"""What every store does alike, be it a folder, the Hub, or both."""

from collections.abc import Callable
from pathlib import Path

import pytest

from hyperion.errors import PhotoMissing
from hyperion.media.store import Item, Layered, LocalStore, Store
from tests.hub.conftest import MakeHub

PATH = "media/user/2026-05-01/1_a.jpg"
OTHER = "media/user/2026-05-01/2_ü b.png"
CONTENT = bytes(range(256)) * 300


@pytest.fixture(params=["folder", "hub by xet", "hub by lfs", "hub before a folder"])
def store(request: pytest.FixtureRequest, tmp_path: Path, make_hub_store: MakeHub) -> Store:
    if request.param == "folder":
        return LocalStore(tmp_path / "store")
    hub = make_hub_store(HYPERION_HUB_XET=str("xet" in request.param))
    return Layered(hub, LocalStore(tmp_path / "store")) if "before" in request.param else hub


@pytest.fixture
def source(tmp_path: Path) -> Callable[[bytes], Path]:
    def make(content: bytes) -> Path:
        path = tmp_path / f"source-{len(list(tmp_path.glob('source-*')))}"
        path.write_bytes(content)
        return path

    return make


async def read(store: Store, path: str) -> bytes:
    async with store.local_copy(path) as file:
        return file.read_bytes()


async def test_what_was_put_can_be_read(store: Store, source: Callable[[bytes], Path]) -> None:
    await store.put_many([Item(PATH, source(CONTENT)), Item(OTHER, source(b"another"))])

    assert await read(store, PATH) == CONTENT
    assert await read(store, OTHER) == b"another"


async def test_what_was_put_again_is_there_once_and_whole(store: Store, source: Callable[[bytes], Path]) -> None:
    await store.put_many([Item(PATH, source(CONTENT))])

    await store.put_many([Item(PATH, source(CONTENT)), Item(OTHER, source(b"another"))])

    assert await read(store, PATH) == CONTENT
    assert await read(store, OTHER) == b"another"


async def test_the_same_bytes_under_two_paths_are_two_photos(store: Store, source: Callable[[bytes], Path]) -> None:
    await store.put_many([Item(PATH, source(CONTENT)), Item(OTHER, source(CONTENT))])

    await store.delete_many([PATH])

    assert await read(store, OTHER) == CONTENT


async def test_a_newer_content_replaces_an_older(store: Store, source: Callable[[bytes], Path]) -> None:
    await store.put_many([Item(PATH, source(CONTENT))])

    await store.put_many([Item(PATH, source(b"newer"))])

    assert await read(store, PATH) == b"newer"


async def test_what_was_deleted_is_missing(store: Store, source: Callable[[bytes], Path]) -> None:
    await store.put_many([Item(PATH, source(CONTENT)), Item(OTHER, source(b"another"))])

    await store.delete_many([PATH])

    with pytest.raises(PhotoMissing):
        await read(store, PATH)
    assert await read(store, OTHER) == b"another"


async def test_deleting_what_is_absent_is_fine(store: Store, source: Callable[[bytes], Path]) -> None:
    await store.put_many([Item(PATH, source(CONTENT))])

    await store.delete_many([PATH, OTHER])
    await store.delete_many([PATH])

    with pytest.raises(PhotoMissing):
        await read(store, PATH)


async def test_putting_and_deleting_at_once_does_both(store: Store, source: Callable[[bytes], Path]) -> None:
    await store.put_many([Item(PATH, source(CONTENT))])

    await store.apply([Item(OTHER, source(b"another"))], [PATH])

    assert await read(store, OTHER) == b"another"
    with pytest.raises(PhotoMissing):
        await read(store, PATH)


async def test_a_photo_that_was_never_put_is_missing(store: Store, source: Callable[[bytes], Path]) -> None:
    await store.put_many([Item(OTHER, source(b"another"))])

    with pytest.raises(PhotoMissing) as caught:
        await read(store, PATH)

    assert caught.value.path == PATH


async def test_a_missing_source_is_the_callers_fault(store: Store, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        await store.put_many([Item(PATH, tmp_path / "absent")])


@pytest.mark.parametrize("path", ["/etc/passwd", "../a", "a/../../b", "a//b", ".hidden", "a\nb"])
async def test_a_path_that_could_lead_elsewhere_is_refused(
    store: Store, source: Callable[[bytes], Path], path: str
) -> None:
    with pytest.raises(ValueError, match="no path in the store"):
        await store.put_many([Item(path, source(b"x"))])
    with pytest.raises(ValueError, match="no path in the store"):
        await store.delete_many([path])
    with pytest.raises(ValueError, match="no path in the store"):
        await read(store, path)
