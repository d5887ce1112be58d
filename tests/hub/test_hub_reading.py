"""Photos on the Hub are given back whole or not at all."""

from pathlib import Path

import pytest

from hyperion.errors import PhotoMissing, StoreUnavailable
from hyperion.media.store import HubStore, Item
from tests.hub import faults
from tests.hub.conftest import PATH, REPO, MakeHub
from tests.hub.faults import Fault
from tests.hub.server import Hub


async def test_the_address_of_a_photo_is_public_only_where_the_repository_is(make_hub_store: MakeHub, hub: Hub) -> None:
    shown = make_hub_store(HYPERION_HUB_PRIVATE="no").public_url("media/u/a b.jpg")

    assert shown == f"{hub.url}/datasets/{REPO}/resolve/main/media/u/a%20b.jpg"
    assert make_hub_store().public_url(PATH) is None


async def test_a_photo_that_is_cut_short_on_its_way_back_is_not_given(
    hub: Hub, lfs_store: HubStore, item: Item, tmp_path: Path
) -> None:
    await lfs_store.put_many([item])
    hub.faults.order("resolve", faults.LOST_BEFORE)

    with pytest.raises(StoreUnavailable):
        async with lfs_store.local_copy(PATH):
            pass

    assert not list((tmp_path / "var" / "spool").iterdir())


@pytest.mark.parametrize("fault", [faults.NOT_THE_HUB, faults.redirect("https://login.example.invalid/")])
async def test_a_page_in_place_of_a_photo_is_not_taken_for_one(
    hub: Hub, lfs_store: HubStore, item: Item, fault: Fault
) -> None:
    await lfs_store.put_many([item])
    hub.faults.order("resolve", fault)

    with pytest.raises(StoreUnavailable):
        async with lfs_store.local_copy(PATH):
            pass


async def test_a_photo_that_comes_back_with_another_length_is_not_taken(
    hub: Hub, lfs_store: HubStore, item: Item
) -> None:
    await lfs_store.put_many([item])
    hub._contents.path(hub.repository(REPO).files[PATH].sha256).write_bytes(b"half")

    with pytest.raises(StoreUnavailable, match="4 bytes"):
        async with lfs_store.local_copy(PATH):
            pass


async def test_a_full_disk_where_a_photo_is_fetched_to_is_a_store_that_is_away(
    lfs_store: HubStore, item: Item, tmp_path: Path
) -> None:
    await lfs_store.put_many([item])
    (tmp_path / "var").mkdir(exist_ok=True)
    (tmp_path / "var" / "spool").write_bytes(b"a file in its place")

    with pytest.raises(StoreUnavailable, match="spool"):
        async with lfs_store.local_copy(PATH):
            pass


async def test_a_repository_that_is_gone_is_not_taken_for_a_missing_photo(hub: Hub, lfs_store: HubStore) -> None:
    with pytest.raises(StoreUnavailable):
        async with lfs_store.local_copy(PATH):
            pass
    hub.create(REPO)
    with pytest.raises(PhotoMissing):
        async with lfs_store.local_copy(PATH):
            pass
