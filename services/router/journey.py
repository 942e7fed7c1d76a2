"""One request's way from candidate to candidate, until one begins to answer."""

import asyncio
import random
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Final, NamedTuple

import aiohttp
import structlog

from libs.contracts.dispatch import Dispatch
from libs.errors import GatewayError, UnsupportedParameter
from libs.runtime.clock import now_ms
from services.router import failover
from services.router.attempt import LiveAttempt
from services.router.choose import Chosen
from services.router.passages import Told, told_to
from services.router.prepare import Prepared
from services.router.switch import Switch
from services.router.terminal import NotKept, Terminal
from services.router.vigil import CallerLeft, Vigil

log = structlog.get_logger()

JITTER_SECONDS: Final = 0.05  # the callers of a provider that dies do not reach the next one all at once
DROPPED: Final = "x-tokenoutput-dropped"


class Ready(NamedTuple):
    """A candidate with everything that a call to it takes. ``remember`` is called with what the caller was told."""

    chosen: Chosen
    prepared: Prepared
    call: AbstractAsyncContextManager[aiohttp.ClientResponse]
    remember: Callable[[Told], None]


class Journey:
    """However it ends, the terminal has its record, or none could be kept."""

    def __init__(self, order: Dispatch, terminal: Terminal, vigil: Vigil, switch: Switch, *, most: int) -> None:
        self._order = order
        self._terminal = terminal
        self._vigil = vigil
        self._switch = switch
        self._most = most

    async def go(self, first: Ready, rest: Sequence[Chosen], ready: Callable[[Chosen], Ready]) -> None:
        """Raises the GatewayError that is the answer, if the caller has got nothing at all; once it had a sign of life
        the error is the last event."""
        sink, terminal = self._vigil.sink, self._terminal
        try:
            async with self._vigil.kept():
                await self._try_each(first, rest, ready)
        except NotKept:
            raise
        except CallerLeft:
            if not terminal.recorded:
                await terminal.void("client_gone")
            sink.abort()
        except GatewayError as error:
            await self._vigil.quiet()
            if not terminal.recorded:
                await terminal.void(error.code or "refused")
            if sink.ended:
                return
            sink.headers.update(terminal.explained_failure())
            if not sink.opened:
                raise
            await self._tell(error)

    async def _try_each(self, first: Ready, rest: Sequence[Chosen], ready: Callable[[Chosen], Ready]) -> None:
        """Raises what the last one failed with. An offer that failed by itself is not tried with other credentials."""
        current, left = first, list(rest)
        for number in range(1, self._most + 1):
            try:
                await self._try(current)
            except NotKept:
                raise
            except GatewayError as error:
                self._terminal.failed(error.code or "refused")
                left = failover.left_after(error, current.chosen, left)
                following = None if number == self._most or self._vigil.left else self.next_able(left, ready)
                if following is None:
                    raise
                log.info("failing_over", offer=current.chosen.offer.id, reason=error.code)
                await asyncio.sleep(random.uniform(0, JITTER_SECONDS))  # noqa: S311 - nobody is kept from guessing it
                current = following
            else:
                return

    @staticmethod
    def next_able(left: list[Chosen], ready: Callable[[Chosen], Ready]) -> Ready | None:
        """The next candidate that can do what the request asks for; those that cannot are passed over."""
        while left:
            try:
                return ready(left.pop(0))
            except UnsupportedParameter:
                continue
        return None

    async def _try(self, ready: Ready) -> None:
        chosen, prepared, call, remember = ready
        headers = self._vigil.sink.headers
        headers.pop(DROPPED, None)
        if prepared.dropped:
            headers[DROPPED] = ",".join(prepared.dropped)
        self._terminal.serve(chosen, len(prepared.body), now_ms())
        told = told_to(self._order, chosen, prepared, self._terminal.started_at)
        with self._switch.watching(chosen) as watched:
            attempt = LiveAttempt(
                self._order, chosen, prepared, self._terminal, told=told, vigil=self._vigil, watched=watched
            )
            await attempt.go(call, remember)

    async def _tell(self, error: GatewayError) -> None:
        try:
            await self._vigil.sink.fail(error)
        except ConnectionError:
            log.info("client_gone", request_id=self._order.request_id.hex)
