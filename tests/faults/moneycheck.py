"""Whether three independent truths agree to the nano-dollar: callers, provider, books. Pure.

Every check answers the differences that it finds, the first ones by id. The names are those of the conservation
invariants; what can be recomputed from the books alone (C1, C5, C7 and the leases) is `ledger verify`.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from uuid import UUID

from deploy.demo.provider.journal import Record
from libs import ids, pricing
from libs.pricing import Usage
from tests.faults.driver import Answer
from tests.faults.truths import Charge, Rest, Truths

MOST = 3  # differences of one kind that are told
REFUSED_AT_THE_DOOR = (400, 401, 402, 403, 404, 413, 415)


def differences(truths: Truths, expected: Mapping[str, int]) -> list[str]:
    """All that does not agree. ``expected``: the anomalies and parked events that the scenario made itself."""
    served = _served(truths.served)
    checks = (
        _balances(truths),
        _one_row_each(truths, served),
        _tokens(truths, served),
        _never_below_zero(truths),
        _within_holds(truths),
        _only_expected(truths.odd, expected),
    )
    return [told for check in checks for told in _first(check)]


def unrest(rest: Rest) -> list[str]:
    """C8: what is left although everything has ended."""
    found = [f"C8 {key}: {amount} held" for key, amount in rest.held.items()]
    found += [f"C8 {key}: holds {', '.join(ids_)}" for key, ids_ in rest.holds.items()]
    found += [f"C8 spool {name}: {depth} records" for name, depth in rest.spooled.items()]
    found += [f"C8 org {org}: the lease of epoch {epoch} is in doubt" for org, epoch in rest.doubt]
    return list(_first(iter(found)))


def _balances(truths: Truths) -> Iterator[str]:
    """C2: what an org was given, less what it was charged, is what it has."""
    spent: Counter[int] = Counter()
    for charge in truths.charges:
        spent[charge.org] += charge.cash + charge.plan
    for org, credited in truths.credited.items():
        posted = truths.accounts[org].posted if org in truths.accounts else 0
        if posted != credited - spent[org]:
            yield f"C2 org {org}: given {credited}, charged {spent[org]}, but {posted} is posted"


def _one_row_each(truths: Truths, served: Mapping[UUID, list[Record]]) -> Iterator[str]:
    """C3: what was accepted has its one row, what was refused at the door has none, and nobody else has one."""
    rows = {charge.request_id: charge for charge in truths.charges}
    answers = {request_id: a for a in truths.answers if (request_id := ids.parse_public(a.request)) is not None}
    for request_id, answer in answers.items():
        if wrong := _fate(answer, rows.get(request_id)):
            yield f"C3 {answer.request}: {wrong}"
    for request_id in sorted(served.keys() - rows.keys()):
        yield f"C3 {ids.public(request_id)}: reached the provider and is not in the books"
    unanswered = Counter(answer.org for answer in truths.answers if not answer.request)
    extra = Counter(row.org for request_id, row in rows.items() if request_id not in answers)
    for org, count in extra.items():
        if count > unanswered[org]:
            yield f"C3 org {org}: {count} rows of requests that nobody made, {unanswered[org]} calls had no answer"


def _fate(answer: Answer, row: Charge | None) -> str | None:
    """What is wrong with a row, seen by the caller whose it is."""
    if answer.accepted and row is None:
        return "accepted and not in the books"
    if answer.accepted and answer.whole and row is not None and row.outcome == "void":
        return f"answered in full and void ({row.reason})"
    if answer.status in REFUSED_AT_THE_DOOR and row is not None and row.outcome != "void":
        return f"refused with {answer.status} and charged {row.cost}"
    return None


def _tokens(truths: Truths, served: Mapping[UUID, list[Record]]) -> Iterator[str]:
    """C4: tokens are the provider's own, and cost is their price."""
    for row in truths.charges:
        name, records = ids.public(row.request_id), served.get(row.request_id, [])
        if row.outcome == "usage" and row.usage not in [record.usage for record in records]:
            yield f"C4 {name}: charged {_said(row.usage)}, served {[_said(r.usage) for r in records if r.usage]}"
        if row.outcome != "void" and not records:
            yield f"C4 {name}: charged as {row.outcome}, and no provider was called"
        if row.outcome == "estimated" and row.usage.prompt == 0:
            yield f"C4 {name}: estimated at {_said(row.usage)}, less than the input"
        cost = pricing.cost(truths.prices[row.price_id], row.usage, row.started_at) if row.price_id else 0
        if cost != row.cost:
            yield f"C4 {name}: cost {row.cost}, its tokens come to {cost}"


def _never_below_zero(truths: Truths) -> Iterator[str]:
    """C6: at no commit was less posted than leased, or less than nothing."""
    for org, account in truths.accounts.items():
        if account.lowest_posted < 0 or account.lowest_free < 0:
            low = f"{account.lowest_posted} posted, {account.lowest_free} not leased"
            yield f"C6 org {org}: its lowest state was {low}"


def _within_holds(truths: Truths) -> Iterator[str]:
    """C7: nobody pays more than was held, and what is above it is ours."""
    for row in truths.charges:
        if row.cash + row.plan > row.held or row.cost != row.cash + row.plan + row.absorbed:
            split = f"{row.cash} + {row.plan} + {row.absorbed}"
            yield f"C7 {ids.public(row.request_id)}: cost {row.cost} is split {split}, {row.held} held"


def _only_expected(odd: Mapping[str, int], expected: Mapping[str, int]) -> Iterator[str]:
    """C10: exactly the anomalies and parked events that were made on purpose. An expected name may be a beginning."""
    seen: Counter[str] = Counter()
    for kind, times in odd.items():
        name = next((name for name in expected if kind.startswith(name)), kind)
        seen[name] += times
    for name in sorted(seen.keys() | expected.keys()):
        if seen[name] != expected.get(name, 0):
            yield f"C10 {name}: {seen[name]} times, expected {expected.get(name, 0)}"


def _served(records: list[Record]) -> dict[UUID, list[Record]]:
    """What providers have been asked, by request, with what each try ended in."""
    found: dict[UUID, list[Record]] = {}
    for record in records:
        if (request_id := ids.parse_public(record.request)) is not None:
            found.setdefault(request_id, []).append(record)
    return found


def _said(usage: Usage | None) -> str:
    return "nothing" if usage is None else "/".join(str(getattr(usage, name)) for name in Usage.__struct_fields__)


def _first(found: Iterator[str]) -> Iterator[str]:
    """The first few of what was found, and how many more there are."""
    everything = list(found)
    yield from everything[:MOST]
    if len(everything) > MOST:
        yield f"{everything[MOST].split()[0]} … and {len(everything) - MOST} more"
