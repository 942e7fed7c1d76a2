"""The end of a request and its hold always say the same, whatever could be written."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import pytest

from libs.contracts import usage
from libs.contracts.usage import UsageEvent
from libs.pricing import Usage
from libs.sse import Event
from services.router import record
from services.router.chat_passage import ChatPassage
from services.router.choose import choose
from services.router.passage import Passage
from services.router.spool import Spool, opened
from services.router.telling import SameChat
from services.router.terminal import NotKept, Terminal
from tests.fixtures.samples import NOW_MS, hold, order, shelf

CHOSEN: Final = choose(shelf(), "deepseek-chat", lambda _: "key", "")
WORD: Final = b'{"id":"c-1","choices":[{"index":0,"delta":{"content":"%s"}}]}'
BODY_BYTES: Final = 400


@pytest.fixture
async def spool(tmp_path: Path) -> AsyncIterator[Spool]:
    async with opened(tmp_path) as made:
        yield made


def passage(words: int, *, stream: bool = True) -> Passage:
    """An answer of so many words of eight bytes, so far."""
    asked = order(stream=stream)
    made = ChatPassage(asked, SameChat(asked, NOW_MS))
    for _ in range(words):
        made.feed(Event("", WORD % b"eight by"))
    return made


async def terminal(spool: Spool, *, stream: bool = True, cash: int = 10_000_000) -> Terminal:
    asked = order(stream=stream, hold=hold(cash=cash))
    started = record.start(asked, CHOSEN, NOW_MS)
    await spool.start(asked.request_id, 0, NOW_MS, usage.encode_event(started), b"price")
    made = Terminal(asked, started, spool)
    made.serve(CHOSEN, BODY_BYTES, NOW_MS)
    return made


async def nothing_fits(spool: Spool) -> None:
    """From here on the file cannot grow, and there is no reserve."""
    put = spool._writer.put
    ((pages,),) = await put(lambda db: db.execute("PRAGMA page_count").fetchall(), durable=False)
    await put(lambda db: db.execute(f"PRAGMA max_page_count = {pages}").fetchall(), durable=False)


async def standing(spool: Spool) -> UsageEvent:
    """What becomes of the only request, when nobody ends it any more."""
    await spool.promise(0)
    (row,) = await spool.waiting(0, 9)
    return usage.decode_event(row.event)


async def test_what_was_delivered_by_the_last_checkpoint_is_owed_when_the_router_dies(spool: Spool) -> None:
    ends = await terminal(spool)
    answer = passage(50)
    ends.checkpoint(answer)
    for _ in range(50):
        answer.feed(Event("", WORD % b"eight by"))
    ends.checkpoint(answer)
    await spool.recover()
    found = await standing(spool)
    assert (found.outcome, found.reason) == ("estimated", "router_lost")
    assert found.usage == Usage(input=BODY_BYTES // 4, output=200)
    assert (found.provider_request_id, found.offer) == (None, "deepseek-chat@deepseek")


@pytest.mark.parametrize(("words", "stream"), [(0, True), (50, False)])
async def test_whoever_has_got_nothing_owes_nothing(spool: Spool, words: int, stream: bool) -> None:
    ends = await terminal(spool, stream=stream)
    ends.checkpoint(passage(words, stream=stream))
    assert spool.checkpoints == 0
    await ends.void("refused")
    assert (ends.settled_with(), (await standing(spool)).outcome) == (0, "void")


async def test_a_request_that_nobody_ends_is_settled_by_billing_with_what_stands(spool: Spool) -> None:
    """Settled with less, its charge would come out of credit that was given to somebody else."""
    ends = await terminal(spool)
    ends.checkpoint(passage(50))
    assert ends.settled_with() is None
    found = await standing(spool)
    assert (found.outcome, found.cost > 0, spool.in_flight) == ("estimated", True, 0)


async def test_no_more_than_was_held(spool: Spool) -> None:
    ends = await terminal(spool, cash=7)
    ends.checkpoint(passage(50))
    await nothing_fits(spool)
    with pytest.raises(NotKept):
        await ends.record("usage", "x" * 200_000, Usage(input=1000, output=1000))
    assert ends.settled_with() == 7


@pytest.mark.parametrize("checkpoint", [True, False])
async def test_an_end_that_cannot_be_written_is_settled_with_what_stands(spool: Spool, checkpoint: bool) -> None:
    ends = await terminal(spool)
    if checkpoint:
        ends.checkpoint(passage(50))
        await spool.depth()
    await nothing_fits(spool)
    with pytest.raises(NotKept):
        await ends.record("usage", "x" * 200_000, Usage(input=1000, output=1000))
    found = await standing(spool)
    assert found.outcome == ("estimated" if checkpoint else "void")
    assert (ends.settled_with(), spool.in_flight) == (found.cost, 0)


async def test_after_the_end_there_is_no_checkpoint(spool: Spool) -> None:
    ends = await terminal(spool)
    answer = passage(50)
    ends.checkpoint(answer)
    await ends.record("usage", "complete", Usage(input=10, output=10))
    ends.checkpoint(answer)
    found = await standing(spool)
    assert (found.outcome, ends.settled_with()) == ("usage", found.cost)
    assert spool.checkpoints == 1
