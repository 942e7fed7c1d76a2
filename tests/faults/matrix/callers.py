"""F37–F41: callers who come all at once, ask for the impossible, stay for long, and leave."""

import asyncio
import random

from libs import ids, pricing
from libs.protocols import OPENAI_CHAT
from services.edge import commands
from tests.faults import asks
from tests.faults.asks import Asked
from tests.faults.scenario import Run, Scenario, must
from tests.fixtures.gateway import Customer, nano

# Costs more than any hold, so that each answer takes the whole of its own and gives nothing back to those who wait.
DEAR = "[sim: usage=in:100000,out:90000]"
AT_ONCE, ENOUGH_FOR = 200, 7

HOSTILE = (
    b"-1",
    b"0",
    b"true",
    b"1e9",
    b"1e400",
    b"NaN",
    b'"5"',
    b"9223372036854775808",
    b"1.5",
    b"[1]",
    b"{}",
    b"-9223372036854775809",
)
HOSTILE_CHOICES = (b"0", b"-3", b"1e9", b"true", b'"2"', b"9223372036854775808")
BODY = b'{"model":"deepseek-chat","messages":[{"role":"user","content":"hello"}],"max_tokens":%s,"n":%s}'


async def at_once(run: Run) -> None:
    """Credit for exactly seven, and two hundred at once by two keys."""
    dear = asks.asked(f"{run.secret} {DEAR}")
    need = await required(run, dear)
    customer = await run.customer(pricing.usd(need * ENOUGH_FOR))
    second = Customer(run.world.gateway, customer.org, *await another_key(run, customer.org))
    answers = await asyncio.gather(
        *(run.driver.ask(second if number % 2 else customer, dear) for number in range(AT_ONCE))
    )
    accepted = sum(answer.accepted for answer in answers)
    seen = run.statuses()
    must(accepted == ENOUGH_FOR, f"{accepted} were accepted, {ENOUGH_FOR} were paid for: {seen}")
    must(set(seen) <= {200, 402, 503}, f"callers saw {seen}")
    must(not await run.drained(), "something is left")
    must((await run.truths()).accounts[customer.org].posted == 0, "the credit was not spent to the last nano-dollar")


async def required(run: Run, asked: Asked) -> int:
    """What is held for this request, as the refusal of somebody poor says. The same words have the same length."""
    answer = await run.driver.ask(await run.customer("0.000000001"), asked)
    must(answer.status == 402, f"somebody poor saw {answer.status}")
    return nano(answer.told()["error"]["required"])


async def another_key(run: Run, org: int) -> tuple[str, int]:
    key_id, key = await commands.create_key(run.world.gateway.settings("edge"), org, "second")
    return key, key_id


async def impossible(run: Run) -> None:
    """Numbers that are none: a refusal, and nothing is ever held or given for them."""
    bodies = [BODY % (number, b"1") for number in HOSTILE] + [BODY % (b"5", number) for number in HOSTILE_CHOICES]
    customer = run.customers[0]
    for body in bodies:
        answer = await run.driver.ask(customer, Asked(OPENAI_CHAT, {}, raw=body))
        must(answer.status in (200, 400), f"{body!r} was answered with {answer.status}")
        must(answer.status == 400 or b"1e9" in body, f"{body!r} was served")
    poor = await run.customer("0.001")
    clamped = await run.driver.ask(poor, asks.asked(run.secret, cap=None))
    must(clamped.whole and 64 <= int(clamped.cap) < 8192, f"somebody poor who names no cap saw {clamped}")
    dear = await run.driver.ask(poor, asks.asked(run.secret, cap=None, model="claude-sonnet-4-20250514"))
    must(dear.status == 402, f"somebody who cannot pay for 64 tokens saw {dear.status}")


async def long_stream(run: Run) -> None:
    """Inside one stream its price is changed and its key is revoked: it ends, at the old price."""
    gateway, customer = run.world.gateway, await run.customer("1")
    asked = asks.asked(f"{run.secret} [sim: words=200 gap=0.05]", stream=True, cap=400)
    streaming = asyncio.create_task(run.driver.ask(customer, asked))
    await run.pause(2)
    await gateway.publish(gateway.shelf_with_price("deepseek-chat", factor=3))
    await commands.revoke_key(gateway.settings("edge"), customer.key_id)
    await run.pause(4)
    refused = await run.ask(customer)
    answer = await streaming
    must(refused.status == 401, f"the revoked key was answered with {refused.status}")
    must(answer.whole, f"the stream was cut: {answer}")
    must(not await run.drained(), "something is left")
    rows = {row.request_id: row for row in (await run.truths()).charges}
    row = rows[ids.parse_public(answer.request)]  # type: ignore[index] # it was accepted
    must(row.price_id == pricing.version_of(gateway.price_of("deepseek-chat")), "it has another price")
    await gateway.publish(gateway.shelf)
    await run.pause(2)


async def leave(run: Run) -> None:
    """Before the first byte, after the first word, before the last one."""
    async with run.load(25, _leaving, run.customers[0], run.customers[1]):
        await run.pause(8)
    must(not await run.drained(), "something is left")
    found = await run.truths()
    rows = {row.request_id: row for row in found.charges}
    for answer in found.answers:
        row = rows.get(ids.parse_public(answer.request))  # type: ignore[arg-type] # no id is no row
        free = row is not None and row.outcome == "void" and answer.left and answer.accepted
        must(not free, f"{answer.request} was left in the middle of its answer and is void")


def _leaving(rng: random.Random, secret: str) -> Asked:
    how = f"{secret} [sim: words=20 gap=0.04 first=0.2]"
    model = rng.choice(("deepseek-chat", "glm-4-flash"))  # one that stops for those who left, and one that goes on
    return asks.asked(
        how, protocol=rng.choice(asks.PROTOCOLS), stream=True, model=model, leaves=rng.choice((0, 2, 5, 19))
    )


SCENARIOS = (
    Scenario("F37", "200 at once, credit for seven", "exactly 7 accepted, to the last nano", at_once, fast=True),
    Scenario("F39", "impossible numbers", "refused, nothing held", impossible, fast=True),
    Scenario("F40", "price changed and key revoked inside a stream", "old price; new requests refused", long_stream),
    Scenario("F41", "callers leave at any byte", "charged for what they were given", leave),
)
