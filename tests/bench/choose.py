"""What choosing costs, in microseconds of one core: an offer and a credential for a request, of a shelf of 500 models
with 5 offers each, the breakers asked and everything healthy.

Processor time is counted, not the clock's, and the best round is told: the machine may be busy with other things, which
can only add to it.
"""

import itertools
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec

from libs.contracts.catalog import Provider, Shelf, Snapshot
from services.router import affinity, wishes
from services.router.breaker import Breakers, subjects_of
from services.router.choose import Chosen, Held, candidates
from tests.fixtures.samples import NOW_MS, model, offer, provider

MODELS: Final = 500
OFFERS: Final = 5
ROUNDS: Final = 200
CHOICES: Final = 50
REQUESTS: Final = 5
CLIENTS: Final = Path(__file__).parents[1] / "data" / "clients"


def shelf() -> Shelf:
    names = [f"model-{number}" for number in range(MODELS)]
    hosts = [f"host-{number}" for number in range(OFFERS)]
    return Shelf(
        Snapshot(
            1,
            tuple(provider(id=host) for host in hosts),
            tuple(model(id=name) for name in names),
            tuple(
                offer(id=f"{name}@{host}", model=name, provider=host, weight=number + 1)
                for name in names
                for number, host in enumerate(hosts)
            ),
        )
    )


def chooser(credentials: int, wanted: wishes.Wishes = wishes.NO_WISHES) -> Callable[[], list[list[Chosen]]]:
    """One choice for each of the next models, each by another conversation."""
    whole, breakers = shelf(), Breakers()
    held = {one: [Held(f"{one}-{number}", "key") for number in range(credentials)] for one in whole.providers}
    keys = itertools.cycle([(name, affinity.key(7, name.encode())) for name in whole.models])
    for sold in whole.snapshot.offers:
        for one in held[sold.provider]:
            breakers.begin(subjects_of(sold.id, one.id), NOW_MS)

    def credentials_of(one: Provider) -> list[Held]:
        return held[one.id]

    def choose_next() -> list[list[Chosen]]:
        usable = breakers.usable_at(NOW_MS)
        return [
            candidates(whole, name, credentials_of, "", affinity=key, wishes=wanted, usable=usable)
            for name, key in itertools.islice(keys, CHOICES)
        ]

    return choose_next


def report(title: str, part: Callable[[], object], per: int) -> None:
    seconds = []
    for _ in range(ROUNDS):
        began = time.thread_time()
        part()
        seconds.append(time.thread_time() - began)
    print(f"  {title:<60} {min(seconds) / per * 1e6:8.1f}")


def main() -> None:
    print(f"µs per choice, {MODELS} models with {OFFERS} offers each")
    for credentials in (1, 3):
        report(f"{OFFERS * credentials} candidates", chooser(credentials), CHOICES)
    wanted = wishes.read(b'{"provider":{"ignore":["host-4"],"order":["host-1","host-0"],"sort":"latency"}}')
    report("4 candidates, as the caller wishes", chooser(1, wanted), CHOICES)
    body = msgspec.json.encode(json.loads((CLIENTS / "cc_two_tools_thinking_error.json").read_bytes())["body"])
    print(f"µs per request of {len(body) // 1000} kB")
    report("affinity key", lambda: [affinity.key(7, body) for _ in range(REQUESTS)], REQUESTS)
    report("wishes, where there are none", lambda: [wishes.read(body) for _ in range(REQUESTS)], REQUESTS)
    wishing = b'{"provider":{"order":["host-1"]},' + body[1:]
    report("wishes, where there are", lambda: [wishes.read(wishing) for _ in range(REQUESTS)], REQUESTS)


if __name__ == "__main__":
    main()
