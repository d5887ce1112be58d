"""Readings that are shared by all who ask at the same time."""

import asyncio

from hyperion.web.together import Together
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
