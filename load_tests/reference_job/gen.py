"""Deterministic NDJSON of payments for the reference job, in event-time order.

More rows continue the same stream. Customer activity follows w(rank) ~ 1 / (rank + 50): the busiest makes about 0.3 %
of the traffic. Arrivals are 14,286 a day; about 8 % of the rows belong to short bursts of card testing.
"""

import argparse
import bisect
import heapq
import itertools
import random
from collections.abc import Iterator
from typing import Any

import orjson

CUSTOMERS, MERCHANTS = 20_000, 500
START_MS = 1_767_225_600_000
GAP_MS = 86_400_000 / 14_286
CURRENCIES = {"GB": "GBP"}


class World:
    """The fixed part: who there is. Draws in the order that makes the published data."""

    def __init__(self, draw: random.Random) -> None:
        self.activity = list(itertools.accumulate(1.0 / (rank + 50) for rank in range(CUSTOMERS)))
        self.ids = list(range(CUSTOMERS))
        draw.shuffle(self.ids)
        self.people = [
            {
                "mu": draw.uniform(2.5, 4.5),
                "cards": draw.choice((1, 1, 1, 2, 2, 3)),
                "devices": draw.choice((1, 1, 2, 3)),
                "home": draw.choice(("FR", "DE", "ES", "IT", "NL", "GB")),
            }
            for _ in range(CUSTOMERS)
        ]
        categories = [str(5000 + 13 * k) for k in range(40)]
        self.categories = [draw.choice(categories) for _ in range(MERCHANTS)]
        self.popularity = list(itertools.accumulate(1.0 / (rank + 10) for rank in range(MERCHANTS)))


def arrivals(draw: random.Random, world: World) -> Iterator[tuple[int, int, str, bool, bool]]:
    """Who pays when: time, customer, device, whether in a burst, and there whether a small sum."""
    now, devices = START_MS, 0
    bursts: list[tuple[int, int, str, bool]] = []
    while True:
        if bursts and bursts[0][0] <= now:
            at, customer, device, small = heapq.heappop(bursts)
            yield at, customer, device, True, small
            continue
        now += max(1, int(draw.expovariate(1 / (GAP_MS / 0.92))))
        if bursts and bursts[0][0] <= now:
            continue  # what is due first, to keep the order
        customer = bisect.bisect_left(world.activity, draw.random() * world.activity[-1])
        device = f"d{customer}-{draw.randrange(world.people[customer]['devices'])}"
        if draw.random() < 0.012:
            devices += 1
            device = f"dx{devices}"
        if draw.random() < 0.009:
            devices += 1
            at = now
            for _ in range(draw.randint(4, 15)):
                at += draw.randint(500, 90_000)
                heapq.heappush(bursts, (at, customer, f"dx{devices}", draw.random() < 0.7))
        yield now, customer, device, False, False


def events(rows: int, seed: int = 7) -> Iterator[dict[str, Any]]:
    """The first `rows` events of a seed."""
    draw = random.Random(seed)
    world = World(draw)
    for n, (at, customer, device, burst, small) in enumerate(itertools.islice(arrivals(draw, world), rows)):
        person = world.people[customer]
        if burst:
            amount = draw.uniform(0.5, 5) if small else draw.lognormvariate(person["mu"] + 1.5, 0.6)
        else:
            amount = draw.lognormvariate(person["mu"], 0.6)
            if draw.random() < 0.004:
                amount *= draw.uniform(8, 30)
        merchant = bisect.bisect_left(world.popularity, draw.random() * world.popularity[-1])
        card = draw.randrange(person["cards"])
        home = person["home"]
        country = home if draw.random() < 0.95 else draw.choice(("US", "BR", "NG", "VN", "FR"))
        number = world.ids[customer]
        yield {
            "event_id": f"e{n:09d}",
            "type": "payment.requested",
            "payment_id": f"p{n:09d}",
            "customer_id": f"c{number:06d}",
            "card_id": f"k{number:06d}-{card}",
            "merchant_id": f"m{merchant:04d}",
            "merchant_category": world.categories[merchant],
            "device_id": device,
            "ip": f"10.{customer >> 8 & 255}.{customer & 255}.{draw.randrange(4)}",
            "amount": round(amount, 2) or 0.01,
            "currency": CURRENCIES.get(home, "EUR"),
            "country": country,
            "method": draw.choice(("card", "card", "card", "wallet", "transfer")),
            "channel": draw.choice(("web", "app", "pos")),
            "event_time": at,
        }


def main() -> None:
    """Write a file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out")
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--seed", type=int, default=7)
    args = parser.parse_args()
    with open(args.out, "wb", buffering=1 << 20) as file:
        file.writelines(orjson.dumps(event) + b"\n" for event in events(args.rows, args.seed))


if __name__ == "__main__":
    main()
