"""The simulator as a program: receives requests, sends what was planned for them, writes the journal."""

import asyncio
import secrets
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final, NoReturn

import msgspec
from aiohttp import web

from deploy.demo.provider import journal, plan
from deploy.demo.provider.caller import Call, respond
from deploy.demo.provider.frames import Stamp
from deploy.demo.provider.journal import Journal
from deploy.demo.provider.plan import Plan
from deploy.demo.provider.profiles import profile_of
from deploy.demo.provider.refusals import Refusal
from deploy.demo.provider.serving import Serving
from libs.protocols import OPENAI_CHAT

MAX_BODY: Final = 64 << 20
JOURNAL: Final = web.AppKey("journal", Journal)
JOURNAL_PATH: Final = web.AppKey("journal_path", Path)


@asynccontextmanager
async def running(host: str, port: int, log: Path) -> AsyncIterator[str]:
    """The simulator behind its URL; port 0 takes any free one. Raises OSError when the port is taken."""
    with journal.opened(log) as opened:
        # A request whose caller has left must end there and then, also in the middle of a pause.
        runner = web.AppRunner(create_app(opened, log), access_log=None, handler_cancellation=True, shutdown_timeout=1)
        await runner.setup()
        try:
            await web.TCPSite(runner, host, port).start()
            yield f"http://{host}:{runner.addresses[0][1]}"
        finally:
            await runner.cleanup()


def create_app(opened: Journal, log: Path) -> web.Application:
    app = web.Application(client_max_size=MAX_BODY)
    app[JOURNAL], app[JOURNAL_PATH] = opened, log
    app.router.add_get("/healthz", _healthz)
    app.router.add_get("/log", _log)
    app.router.add_post("/{path:.*}", _answer)
    return app


async def _healthz(_: web.Request) -> web.Response:
    return web.json_response({"status": "ok"})


async def _log(request: web.Request) -> web.Response:
    """The journal for people without the file; `?request=req_…` narrows it down."""
    records = await asyncio.to_thread(journal.read, request.app[JOURNAL_PATH], request.query.get("request"))
    return web.Response(body=msgspec.json.encode(records), content_type="application/json")


async def _answer(request: web.Request) -> web.StreamResponse:
    stamp = Stamp(secrets.token_hex(12), int(time.time()))
    headers = {name.lower(): value for name, value in request.headers.items()}
    try:
        call = Call(request.path, headers, await request.read())
        ask, planned = respond(call, stamp)
    except web.HTTPRequestEntityTooLarge:
        call, ask = Call(request.path, headers, b""), None
        planned = plan.refuse(Refusal(413), call.protocol or OPENAI_CHAT, profile_of(call.provider), stamp)
    serving = Serving.begin(request.app[JOURNAL], call, ask, planned, stamp)
    try:
        return await _send(request, planned, serving)
    except (ConnectionError, asyncio.CancelledError):
        serving.end("client_gone" if request.transport is None or request.transport.is_closing() else "stopped")
        raise


async def _send(request: web.Request, planned: Plan, serving: Serving) -> web.StreamResponse:
    await _pause(planned.wait)
    if planned.at_once:
        serving.answered()
        serving.sent(planned.steps[0])
        serving.close()
        return web.Response(status=planned.status, headers=serving.headers(), body=planned.steps[0].data)
    response = web.StreamResponse(status=planned.status, headers=serving.headers())
    response.content_length = planned.length
    if not planned.silent:
        writer = await response.prepare(request)
        if writer is not None:
            writer.send_headers()  # now, and not with the first bytes: a caller may be tested with silence in between
        serving.answered()
        await _send_steps(response, planned, serving)
    return await _leave(request, response, planned, serving)


async def _send_steps(response: web.StreamResponse, planned: Plan, serving: Serving) -> None:
    for step in planned.steps[:-1]:
        await _pause(step.delay)
        if step.data:
            await response.write(step.data)
        serving.sent(step)
    for step in planned.steps[-1:]:
        await _pause(step.delay)
        serving.sent(step)
        serving.close()
        await response.write(step.data)


async def _leave(
    request: web.Request, response: web.StreamResponse, planned: Plan, serving: Serving
) -> web.StreamResponse:
    if planned.ending == "hang":
        await _forever()
    serving.close()
    if planned.ending == "cut" and request.transport is not None:
        request.transport.close()
    return response


async def _pause(seconds: float) -> None:
    if seconds:
        await asyncio.sleep(seconds)


async def _forever() -> NoReturn:
    await asyncio.get_running_loop().create_future()
    raise AssertionError("nobody completes this future")
