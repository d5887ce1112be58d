"""Readings that are shared by all who ask at the same time."""

import asyncio
import gc
from collections.abc import Collection

import pytest

from hyperion.web.together import Lookup, Together
from tests.until import until


class Book:
    """Something to read, which takes as long as a test wants."""

    def __init__(self) -> None:
        self.begun = 0
        self.may_end = asyncio.Event()

    async def read(self) -> int:
        self.begun += 1
        number = self.begun
        await self.may_end.wait()
        if number == 3:
            raise ValueError("torn")
        return number


async def asked_in_turn() -> tuple[Book, Together[int], list[asyncio.Task[int]]]:
    """Have one ask, and two more once the first is being answered."""
    book = Book()
    together = Together(book.read)
    asking = [asyncio.create_task(together.ask())]
    await until(lambda: book.begun == 1)
    asking += [asyncio.create_task(together.ask()) for _ in range(2)]
    return book, together, asking


async def test_who_asks_while_another_is_answered_shares_the_next_reading() -> None:
    book, _, asking = await asked_in_turn()

    book.may_end.set()

    assert await asyncio.gather(*asking) == [1, 2, 2]
    assert book.begun == 2


async def test_who_goes_away_takes_the_answer_from_nobody() -> None:
    book, _, asking = await asked_in_turn()

    asking[0].cancel()
    asking[1].cancel()
    book.may_end.set()

    assert await asking[2] == 2


async def test_an_error_is_for_those_who_asked_and_not_for_the_next() -> None:
    book, together, asking = await asked_in_turn()
    book.may_end.set()
    await asyncio.gather(*asking)

    torn = await asyncio.gather(together.ask(), together.ask(), return_exceptions=True)

    assert [type(each) for each in torn] == [ValueError, ValueError]
    assert await together.ask() == 4


class Names:
    """A book of names, which notes who was looked up together."""

    def __init__(self, **names: str) -> None:
        self.names = names
        self.asked: list[set[str]] = []
        self.is_torn = False

    async def read(self, asked: Collection[str]) -> dict[str, str]:
        self.asked.append(set(asked))
        await asyncio.sleep(0)
        if self.is_torn:
            raise ValueError("torn")
        return {key: self.names[key] for key in asked if key in self.names}


async def test_what_is_asked_for_in_one_turn_is_looked_up_at_once_and_each_gets_its_own() -> None:
    book = Names(a="Ada", b="Bob")
    lookup = Lookup(book.read)

    answers = await asyncio.gather(*(lookup.ask(key) for key in "abxa"))

    assert answers == ["Ada", "Bob", None, "Ada"]
    assert book.asked == [{"a", "b", "x"}]


async def test_who_asks_once_a_reading_has_begun_gets_what_is_true_from_then_on() -> None:
    book = Names(a="Ada")
    lookup = Lookup(book.read)
    first = asyncio.create_task(lookup.ask("a"))
    await until(lambda: book.asked)

    del book.names["a"]

    assert await lookup.ask("a") is None
    assert len(book.asked) == 2
    await first


async def test_of_those_who_look_up_together_one_may_go_away() -> None:
    lookup = Lookup(Names(a="Ada", b="Bob").read)
    gone, there = asyncio.create_task(lookup.ask("a")), asyncio.create_task(lookup.ask("b"))
    await asyncio.sleep(0)

    gone.cancel()

    assert await there == "Bob"


async def test_a_lookup_that_fails_does_so_for_those_who_asked_and_not_for_the_next() -> None:
    book = Names(a="Ada")
    lookup = Lookup(book.read)
    book.is_torn = True

    torn = await asyncio.gather(lookup.ask("a"), lookup.ask("b"), return_exceptions=True)
    book.is_torn = False

    assert [type(each) for each in torn] == [ValueError, ValueError]
    assert await lookup.ask("a") == "Ada"


@pytest.mark.parametrize("kind", [Together, Lookup])
async def test_an_error_for_which_nobody_waits_any_more_is_no_news_to_the_loop(kind: type) -> None:
    news: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: news.append(context))
    may_fail, has_failed = asyncio.Event(), asyncio.Event()

    async def fail(*asked: object) -> None:
        await may_fail.wait()
        has_failed.set()
        raise ValueError("torn")

    asking = asyncio.create_task(kind(fail).ask(*["a"] * (kind is Lookup)))
    await asyncio.sleep(0)
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    may_fail.set()
    await has_failed.wait()
    await asyncio.sleep(0)
    gc.collect()

    assert not news
