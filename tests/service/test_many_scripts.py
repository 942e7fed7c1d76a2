"""One script many times in one round trip: each call has its own answer, and no answer is taken for another's."""

import asyncio
from collections.abc import AsyncIterator
from typing import Final
from uuid import uuid4

import pytest

from libs.runtime import redis
from tests.fixtures.proxy import proxied
from tests.fixtures.stores import Stores

COUNT: Final = (
    "if ARGV[1] == 'bad' then return redis.error_reply('ERR bad') end return {ARGV[1], redis.call('INCR', KEYS[1])}"
)


@pytest.fixture
async def client(stores: Stores) -> AsyncIterator[redis.Client]:
    async with redis.client(stores.redis_url, seconds=5) as opened:
        yield opened


def calls(count: int) -> tuple[list[list[str]], list[list[object]]]:
    key = uuid4().hex
    return [[key]] * count, [[number] for number in range(count)]


async def test_every_call_is_run_once_and_answered_in_its_place(client: redis.Client) -> None:
    script = client.register_script(COUNT)
    keys, args = calls(500)
    for _ in range(2):
        await client.script_flush()
        answers = await redis.run_many(client, script, keys, args)
        assert [int(answer[0]) for answer in answers] == list(range(500))
    assert answers[-1][1] == 1000, "calls that a Redis without the script refused are run again, and no others"


async def test_what_goes_wrong_with_one_call_is_its_answer_alone(client: redis.Client) -> None:
    script = client.register_script(COUNT)
    keys, args = calls(3)
    answers = await redis.run_many(client, script, keys, [args[0], ["bad"], args[2]])
    assert [isinstance(answer, Exception) for answer in answers] == [False, True, False]
    assert await redis.run_many(client, script, [], []) == []


async def test_a_connection_that_was_left_in_the_middle_is_used_no_more(stores: Stores) -> None:
    """Else its late answers would be taken for those of the next command."""
    slow = "local t = 0 for n = 1, 3e7 do t = t + n end return {'late', 0}"
    async with redis.client(stores.redis_url, seconds=30, size=1) as client:
        script = client.register_script(slow)
        await client.script_load(slow)
        running = asyncio.create_task(redis.run_many(client, script, [["k"]] * 3, [[1]] * 3))
        await asyncio.sleep(0.05)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        assert await client.ping() is True


async def test_a_redis_that_goes_away_is_said_to_have_failed(stores: Stores) -> None:
    async with proxied(stores.redis_url) as way, redis.client(way.url, seconds=5, retries=0) as client:
        script = client.register_script(COUNT)
        keys, args = calls(3)
        assert len(await redis.run_many(client, script, keys, args)) == 3
        await way.down()
        with pytest.raises(redis.Failed):
            await redis.run_many(client, script, keys, args)
        await way.up()
        assert len(await redis.run_many(client, script, keys, args)) == 3
