"""Over one request, from its first candidate to the end of the answer: is the caller still there, has it waited long
for a word, is there time left."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from math import inf
from typing import Final, Protocol

from libs.errors import GatewayError, Unavailable, UpstreamTimeout
from libs.runtime.pulse import pulse
from services.router.telling import COMMENT

BEAT_SECONDS: Final = 1.0
STUCK_SECONDS: Final = 2.0  # a sign of life that a caller does not take keeps nobody from the record
STOPPING: Final = "This part of the gateway is restarting; try again."
LATE: Final = "There was no answer in the time that one may take."


class Sink(Protocol):
    """Where the answer goes. Writing raises ConnectionError once the caller is gone."""

    headers: dict[str, str]

    @property
    def gone(self) -> bool: ...
    @property
    def opened(self) -> bool: ...
    @property
    def ended(self) -> bool: ...
    async def whole(self, body: bytes) -> None: ...
    async def write(self, data: bytes) -> None: ...
    async def end(self, last: bytes) -> None: ...
    async def fail(self, error: GatewayError) -> None: ...
    def abort(self) -> None: ...


class Patience(Protocol):
    """How long things may take, in seconds."""

    @property
    def hangup_seconds(self) -> float: ...
    @property
    def keep_alive_seconds(self) -> float: ...
    @property
    def checkpoint_seconds(self) -> float: ...


class CallerLeft(Exception):
    """The caller is gone, and so is the time in which the provider's bill could be learnt."""


class Vigil:
    """``left``: the caller is gone. Whoever serves says what a sign of life is, and whether its bill runs on."""

    def __init__(self, sink: Sink, patience: Patience, *, stream: bool, seconds: float) -> None:
        self.left = False
        self.sink = sink
        self._patience = patience
        self._stream = stream
        self._loop = asyncio.get_running_loop()
        self._limit = asyncio.timeout(seconds)
        self._quiet_since = self._loop.time()
        self._drains = False
        self._sign_of_life: Callable[[], bytes] | None = None
        self._ending = False
        self._stopping = False
        self._keeping: asyncio.Task[None] | None = None

    @property
    def checkpoint_seconds(self) -> float:
        """How often it is written down what has been delivered."""
        return self._patience.checkpoint_seconds

    @asynccontextmanager
    async def kept(self) -> AsyncIterator[None]:
        """Raises CallerLeft, or UpstreamTimeout when the time is over."""
        try:
            with pulse(BEAT_SECONDS, self._beat):
                async with self._limit:
                    yield
        except TimeoutError as error:
            if not self._limit.expired():
                raise
            raise (CallerLeft() if self.left else self.too_late()) from error
        finally:
            self._ending = True

    def drain(self, seconds: float) -> None:
        """This router stops: so long the answer may take yet."""
        if not self._ending and not self.left:
            self._stopping = True
            self._stop_at(min(self._limit.when() or inf, self._loop.time() + seconds))

    def too_late(self) -> GatewayError:
        """What a caller is told whose time is over."""
        return Unavailable(STOPPING, retry_after=1) if self._stopping else UpstreamTimeout(LATE)

    def serve(self, *, drains: bool) -> None:
        """A provider is at work. ``drains``: its bill runs on when we hang up."""
        self._drains, self._sign_of_life = drains, None

    def begin(self, sign_of_life: Callable[[], bytes]) -> None:
        """The caller gets this provider's answer from here on, and no other's."""
        self._sign_of_life = sign_of_life

    async def write(self, data: bytes) -> None:
        """To the caller, if there is one."""
        if self.left:
            return
        self._quiet_since = self._loop.time()
        try:
            await self.sink.write(data)
        except ConnectionError:
            self._caller_left()

    async def end(self) -> None:
        """The answer is in: from here on nothing is cut short and nothing is said in between."""
        self._limit.reschedule(None)
        await self.quiet()

    async def quiet(self) -> None:
        """No sign of life from here on."""
        self._ending = True
        if self._keeping is not None:
            await asyncio.wait({self._keeping}, timeout=STUCK_SECONDS)
            self._keeping.cancel()

    def _beat(self) -> None:
        if self._ending or self.left:
            return
        if self.sink.gone:
            self._caller_left()
        elif self._stream and self._is_quiet() and (self._keeping is None or self._keeping.done()):
            self._keeping = asyncio.ensure_future(self.write(self._something()))

    def _is_quiet(self) -> bool:
        return self._loop.time() - self._quiet_since >= self._patience.keep_alive_seconds

    def _something(self) -> bytes:
        return COMMENT if self._sign_of_life is None else self._sign_of_life()

    def _caller_left(self) -> None:
        """From here on the provider has as long as it takes to learn its bill, or no time at all."""
        if self._ending or self.left:
            return
        self.left = True
        wait = self._patience.hangup_seconds if self._drains else 0
        self._stop_at(min(self._limit.when() or inf, self._loop.time() + wait))

    def _stop_at(self, when: float) -> None:
        if not self._limit.expired():  # else everything is being stopped already
            self._limit.reschedule(when)
