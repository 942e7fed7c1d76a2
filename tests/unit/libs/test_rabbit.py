"""What is left of a connection to a broker that is not there."""

import gc
from unittest.mock import patch

import aio_pika
import pytest

from libs.runtime import rabbit
from tests.fixtures.gateway import free_port


async def test_a_connection_that_could_not_be_opened_is_closed() -> None:
    """Else its finaliser starts a coroutine that nobody awaits, wherever the collector happens to run."""
    made: list[aio_pika.Connection] = []

    class Noted(aio_pika.Connection):
        def __init__(self, *args: object, **options: object) -> None:
            super().__init__(*args, **options)  # type: ignore[arg-type] # passed on as they came
            made.append(self)

    with patch.object(aio_pika, "Connection", Noted), pytest.raises(rabbit.Failed):
        await rabbit.connect(f"amqp://127.0.0.1:{free_port()}/")
    gc.collect()
    assert [connection.is_closed for connection in made] == [True]
