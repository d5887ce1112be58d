"""The store on the Hub, when the Hub is not as it should be."""

import asyncio

import pytest

from hyperion.errors import BatchRefused, StorePaused, StoreUnavailable
from hyperion.media.store import HubStore, Item
from tests.hub import faults
from tests.hub.conftest import PATH, REPO, MakeHub
from tests.hub.faults import Fault, Where
from tests.hub.server import Hub


def commits_of(hub: Hub, path: str = PATH) -> int:
    """Count the commits that added a path."""
    return sum(path in commit.added for commit in hub.repository(REPO).commits)


@pytest.mark.parametrize("private", ["yes", "no"])
async def test_a_repository_that_is_absent_is_made_as_the_setting_says(
    hub: Hub, make_hub_store: MakeHub, item: Item, private: str
) -> None:
    await make_hub_store(HYPERION_HUB_PRIVATE=private).put_many([item])

    assert hub.repository(REPO).is_private == (private == "yes")


@pytest.mark.parametrize("is_private", [True, False])
async def test_a_repository_that_others_can_see_or_not_against_the_setting_is_refused(
    hub: Hub, make_hub_store: MakeHub, item: Item, is_private: bool
) -> None:
    hub.create(REPO, is_private=not is_private)

    with pytest.raises(StorePaused, match="HYPERION_HUB_PRIVATE") as caught:
        await make_hub_store(HYPERION_HUB_PRIVATE=str(is_private)).put_many([item])

    assert caught.value.state == "refused"
    assert not hub.repository(REPO).files


async def test_a_repository_that_is_made_public_behind_our_back_gets_no_more_photos(
    hub: Hub, lfs_store: HubStore, item: Item
) -> None:
    await lfs_store.put_many([item])
    hub.repository(REPO).is_private = False

    with pytest.raises(StorePaused, match="is public"):
        await lfs_store.put_many([Item("media/another.jpg", item.source)])

    assert list(hub.repository(REPO).files) == [PATH]


async def test_a_repository_that_is_deleted_is_made_again_with_the_next_commit(
    hub: Hub, lfs_store: HubStore, item: Item
) -> None:
    await lfs_store.put_many([item])
    del hub.repositories[REPO]

    await lfs_store.put_many([item])

    assert hub.repository(REPO).is_private
    assert commits_of(hub) == 1


async def test_a_token_that_is_revoked_in_the_middle_is_refused(hub: Hub, lfs_store: HubStore, item: Item) -> None:
    await lfs_store.put_many([item])
    hub.token = "hf_another"

    with pytest.raises(StorePaused) as caught:
        await lfs_store.delete_many([PATH])
    with pytest.raises(StoreUnavailable, match="401"):
        async with lfs_store.local_copy(PATH):
            pass

    assert caught.value.state == "refused"


async def test_a_token_that_is_wrong_is_refused_whatever_the_library_calls_it(
    hub: Hub, make_hub_store: MakeHub, item: Item
) -> None:
    with pytest.raises(StorePaused) as caught:
        await make_hub_store(HF_TOKEN="hf_wrong").put_many([item])

    assert caught.value.state == "refused"


async def test_a_token_that_may_not_write_is_refused(hub: Hub, hub_store: HubStore, item: Item) -> None:
    hub.create(REPO)
    hub.may_write = False

    with pytest.raises(StorePaused) as caught:
        await hub_store.put_many([item])

    assert caught.value.state == "refused"


@pytest.mark.parametrize(
    ("where", "fault"),
    [
        ("info", faults.IN_WORDS),
        ("preupload", faults.RETRY_AFTER),
        ("preupload", faults.RATE_LIMIT),
        ("lfs_batch", faults.RATE_LIMIT),
        ("lfs_put", faults.RETRY_AFTER),
        ("commit", faults.RETRY_AFTER),
        ("commit", faults.RATE_LIMIT),
        ("commit", faults.IN_WORDS),
    ],
)
async def test_a_rate_limit_comes_out_at_once_with_the_time_to_wait(
    hub: Hub, lfs_store: HubStore, item: Item, where: Where, fault: Fault
) -> None:
    hub.create(REPO)
    hub.faults.order(where, fault)

    with pytest.raises(StorePaused) as caught:
        async with asyncio.timeout(1.5):
            await lfs_store.put_many([item])

    assert (caught.value.state, caught.value.wait_s) == ("throttled", 2.0)


@pytest.mark.parametrize("where", ["info", "preupload", "lfs_batch", "lfs_put", "commit"])
@pytest.mark.parametrize(
    "fault",
    [
        faults.LOST_BEFORE,
        faults.BROKEN_BEFORE,
        faults.LOST_AFTER,
        faults.NOT_THE_HUB,
        faults.redirect("http://127.0.0.1:9/"),  # where nobody listens
    ],
)
async def test_after_any_broken_answer_another_attempt_leaves_one_commit(
    hub: Hub, lfs_store: HubStore, item: Item, where: Where, fault: Fault
) -> None:
    hub.create(REPO)
    hub.faults.order(where, fault)

    try:
        await lfs_store.put_many([item])
    except StorePaused as error:
        assert error.state == "away"
        await lfs_store.apply([item], [], is_doubtful=True)

    assert hub.repository(REPO).read(PATH) == item.source.read_bytes()
    assert commits_of(hub) == 1


@pytest.mark.parametrize(
    ("where", "fault"), [("xet_token", Fault(status=503)), ("xorb", Fault(status=429)), ("shard", faults.LOST_BEFORE)]
)
async def test_a_xet_store_that_fails_is_away_and_the_next_attempt_goes_through(
    hub: Hub, make_hub_store: MakeHub, item: Item, where: Where, fault: Fault
) -> None:
    hub.create(REPO)
    store = make_hub_store()
    hub.faults.order(where, *[fault] * 6)

    with pytest.raises(StorePaused):
        async with asyncio.timeout(10):
            await store.put_many([item])
    hub.faults.calm()
    await store.put_many([item])

    assert commits_of(hub) == 1


async def test_a_hub_that_cannot_be_reached_is_away(hub: Hub, hub_store: HubStore, item: Item) -> None:
    await hub.stop()

    with pytest.raises(StorePaused) as caught:
        await hub_store.put_many([item])
    with pytest.raises(StoreUnavailable):
        async with hub_store.local_copy(PATH):
            pass

    assert caught.value.state == "away"


async def test_a_hub_that_does_not_answer_is_given_up(hub: Hub, make_hub_store: MakeHub, item: Item) -> None:
    hub.create(REPO)
    hub.faults.order("commit", faults.slow(5))

    with pytest.raises(StorePaused) as caught:
        await make_hub_store(HYPERION_HUB_TIMEOUT_S="0.5").put_many([item])

    assert caught.value.is_unclear


async def test_a_commit_that_comes_after_all_and_its_repetition_are_one(
    hub: Hub, make_hub_store: MakeHub, item: Item
) -> None:
    """The first commit lands between the question what is there and the second commit."""
    empty = hub.create(REPO).head
    store = make_hub_store(HYPERION_HUB_TIMEOUT_S="0.5", HYPERION_HUB_XET="no")
    hub.faults.order(
        "commit",
        faults.held_until(lambda: hub.requests["commit"] > 1),
        faults.held_until(lambda: hub.repository(REPO).head != empty),
    )
    with pytest.raises(StorePaused):
        await store.put_many([item])
    patient = make_hub_store(HYPERION_HUB_XET="no")

    with pytest.raises(StorePaused) as caught:
        await patient.apply([item], [], is_doubtful=True)
    await patient.apply([item], [], is_doubtful=True)

    assert "412" in str(caught.value)
    assert commits_of(hub) == 1


async def test_while_another_commit_is_made_the_store_is_busy(hub: Hub, lfs_store: HubStore, item: Item) -> None:
    hub.create(REPO)
    async with hub._committing:
        with pytest.raises(StorePaused) as caught:
            await lfs_store.put_many([item])

    assert (caught.value.state, caught.value.is_unclear) == ("away", False)


async def test_the_quota_of_an_hour_is_a_long_wait(hub: Hub, lfs_store: HubStore, item: Item) -> None:
    hub.create(REPO)
    hub.commits_per_hour = 1
    await lfs_store.put_many([item])

    with pytest.raises(StorePaused) as caught:
        await lfs_store.delete_many([PATH])

    assert caught.value.wait_s == 3600


async def test_one_spoilt_photo_makes_the_batch_refused_and_none_of_it_stored(
    hub: Hub, lfs_store: HubStore, item: Item
) -> None:
    with pytest.raises(BatchRefused) as caught:
        await lfs_store.put_many([item, Item("media/spoilt.jpg", item.source)])

    assert not caught.value.is_too_large
    assert not hub.repository(REPO).files


async def test_what_vanishes_between_the_question_and_the_commit_fails_the_delete_as_a_whole(
    hub: Hub, lfs_store: HubStore, item: Item
) -> None:
    other = Item("media/other.jpg", item.source)
    await lfs_store.put_many([item, other])
    hub.faults.order("commit", Fault(status=404, headers={"X-Error-Code": "EntryNotFound"}))

    with pytest.raises(StorePaused):
        await lfs_store.delete_many([PATH, other.path])
    await lfs_store.delete_many([PATH, other.path])

    assert not hub.repository(REPO).files


async def test_many_deletes_are_asked_about_in_parts(hub: Hub, make_hub_store: MakeHub, item: Item) -> None:
    store = make_hub_store(HYPERION_HUB_PATHS_AT_ONCE="2", HYPERION_HUB_XET="no")
    paths = [f"media/{number}.jpg" for number in range(5)]
    await store.put_many([Item(path, item.source) for path in paths])

    await store.delete_many(paths)

    assert hub.requests["paths_info"] == 3
    assert not hub.repository(REPO).files


async def test_deleting_what_is_gone_makes_no_commit(hub: Hub, lfs_store: HubStore) -> None:
    hub.create(REPO)

    await lfs_store.delete_many([PATH])

    assert len(hub.repository(REPO).commits) == 1
