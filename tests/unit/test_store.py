"""The local store: whole files or none, and never outside its folder."""

import asyncio
import os
import resource
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hyperion.errors import PhotoMissing, StoreUnavailable
from hyperion.media.store import Item, LocalStore, Store

PATH = "media/user/2026-05-01/1_a.jpg"
HOUR_S = 3600.0
MIB = 1 << 20


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture
def store(root: Path) -> LocalStore:
    return LocalStore(root)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "source"
    path.write_bytes(b"a photo")
    return path


async def read(store: Store, path: str) -> bytes:
    async with store.local_copy(path) as file:
        return file.read_bytes()


def files_under(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*"))


async def test_what_was_put_can_be_read(store: LocalStore, source: Path) -> None:
    await store.put_many([Item(PATH, source), Item("media/other/b.jpg", source)])

    assert await read(store, PATH) == b"a photo"
    assert await read(store, "media/other/b.jpg") == b"a photo"


async def test_putting_the_same_path_again_replaces_it(store: LocalStore, source: Path, tmp_path: Path) -> None:
    newer = tmp_path / "newer"
    newer.write_bytes(b"newer")
    await store.put_many([Item(PATH, source)])

    await store.put_many([Item(PATH, newer)])

    assert await read(store, PATH) == b"newer"


async def test_a_put_leaves_no_temporary_file(store: LocalStore, source: Path, root: Path) -> None:
    await store.put_many([Item("a.jpg", source)])

    assert files_under(root) == ["a.jpg"]


async def test_a_put_that_fails_leaves_no_temporary_file(store: LocalStore, source: Path, root: Path) -> None:
    (root / "a.jpg").mkdir()

    with pytest.raises(StoreUnavailable):
        await store.put_many([Item("a.jpg", source)])

    assert files_under(root) == ["a.jpg"]


async def test_a_missing_source_is_the_callers_fault(store: LocalStore, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        await store.put_many([Item(PATH, tmp_path / "absent")])


async def test_a_disk_that_refuses_makes_the_store_unavailable(store: LocalStore, source: Path, root: Path) -> None:
    (root / "media").write_bytes(b"a file where a folder has to be")

    with pytest.raises(StoreUnavailable):
        await store.put_many([Item(PATH, source)])


def test_a_root_that_cannot_be_made_makes_the_store_unavailable(source: Path) -> None:
    with pytest.raises(StoreUnavailable):
        LocalStore(source / "store")


async def test_a_disk_that_is_full_makes_the_store_unavailable(store: LocalStore, source: Path, root: Path) -> None:
    os.truncate(source, 2 * MIB)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (MIB, before[1]))

    try:
        with pytest.raises(StoreUnavailable):
            await store.put_many([Item("a.jpg", source)])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)

    assert files_under(root) == []


async def test_a_photo_that_was_never_put_is_missing(store: LocalStore) -> None:
    with pytest.raises(PhotoMissing) as caught:
        await read(store, PATH)

    assert caught.value.path == PATH


async def test_a_folder_is_no_photo(store: LocalStore, source: Path) -> None:
    await store.put_many([Item(PATH, source)])

    with pytest.raises(PhotoMissing):
        await read(store, "media/user")


async def test_a_root_that_vanished_is_unavailable_not_empty(store: LocalStore, root: Path) -> None:
    root.rmdir()

    with pytest.raises(StoreUnavailable):
        await read(store, PATH)
    with pytest.raises(StoreUnavailable):
        await store.delete_many([PATH])


async def test_a_delete_takes_the_folders_that_are_empty_after_it(store: LocalStore, source: Path, root: Path) -> None:
    await store.put_many([Item(PATH, source), Item("media/other/b.jpg", source)])

    await store.delete_many([PATH])

    assert files_under(root) == ["media", "media/other", "media/other/b.jpg"]


async def test_the_last_delete_leaves_the_root(store: LocalStore, source: Path, root: Path) -> None:
    await store.put_many([Item(PATH, source)])

    await store.delete_many([PATH])

    assert root.is_dir()
    assert files_under(root) == []


async def test_deleting_what_is_absent_is_fine(store: LocalStore, source: Path) -> None:
    await store.put_many([Item("a.jpg", source)])

    await store.delete_many([PATH, PATH, "a.jpg/below-a-file"])

    assert await read(store, "a.jpg") == b"a photo"


async def test_puts_and_deletes_in_one_folder_do_not_disturb_each_other(store: LocalStore, source: Path) -> None:
    async def put_and_delete(number: int) -> None:
        path = f"media/user/2026-05-01/{number}.jpg"
        for _ in range(20):
            await store.put_many([Item(path, source)])
            assert await read(store, path) == b"a photo"
            await store.delete_many([path])

    await asyncio.gather(*(put_and_delete(number) for number in range(4)))


@pytest.mark.parametrize(
    "path", ["", "/etc/passwd", "../a", "a/../../b", "a/./b", "a//b", "a/", ".put-x", "a\0b", "a\nb", "x" * 256]
)
async def test_a_path_that_could_leave_the_root_is_refused(store: LocalStore, source: Path, path: str) -> None:
    with pytest.raises(ValueError, match="no path in the store"):
        await store.put_many([Item(path, source)])
    with pytest.raises(ValueError, match="no path in the store"):
        await store.delete_many([path])
    with pytest.raises(ValueError, match="no path in the store"):
        await read(store, path)


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(path=st.text(st.sampled_from("./\\a-é\0"), max_size=12))
async def test_no_path_reaches_outside_the_root(store: LocalStore, root: Path, path: str) -> None:
    try:
        async with store.local_copy(path) as file:
            assert file.resolve().is_relative_to(root)
    except (ValueError, PhotoMissing):
        pass


async def test_a_sweep_takes_only_old_leftovers(store: LocalStore, source: Path, root: Path) -> None:
    await store.put_many([Item("kept/a.jpg", source)])
    old, young = root / "gone" / ".put-old", root / "kept" / ".put-young"
    old.parent.mkdir()
    old.write_bytes(b"half")
    young.write_bytes(b"half")
    long_ago = time.time() - HOUR_S - 60
    os.utime(old, (long_ago, long_ago))
    os.utime(root / "kept" / "a.jpg", (long_ago, long_ago))

    removed = await store.sweep()

    assert removed == 1
    assert files_under(root) == ["kept", "kept/.put-young", "kept/a.jpg"]


async def test_files_of_this_machine_have_no_public_address(store: LocalStore) -> None:
    assert store.public_url(PATH) is None
