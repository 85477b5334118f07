#!/usr/bin/env python3
"""The access log of a shop whose list of purchases is tested in two variants, in the order in which its lines arrive.

    python3 access_log.py                    # all lines at once
    python3 access_log.py --speed 720        # three days in six minutes

Each user has one variant: even numbers A, odd ones B. B's users open the item box (itembox=1) a little more often. Requests are
made at all times of the day, fewer at night; each line arrives later than it was made, so lines are out of order:

    90 %    a few seconds later
     8 %    minutes: busy servers
     1.7 %  up to an hour: the mobile app in the underground
     0.3 %  2 to 20 hours: phones that were switched off

The same --seed gives the same log. Nothing but Python's standard library is needed.
"""

import argparse
import heapq
import math
import random
import sys
import time
from datetime import datetime, timedelta

FORM = "%Y%m%d-%H%M%S"
OPENS = {"A": 0.30, "B": 0.36}
PRICES = {"A": (0, 10, 20, 50), "B": (0, 10, 20, 20, 50)}
# What is asked for after the test, so that the windows at its end are known to have ended.
TAIL_SECONDS = 3600


def user(number):
    """The ID and the address of a user: two of five have the mobile app."""
    letter = "m" if number * 7919 % 5 < 2 else "u"
    return f"{letter}{number}", f"10.{number >> 8 & 255}.{number & 255}.{number * 31 % 250 + 1}"


def delay(chance):
    """Seconds between a request and the arrival of its line."""
    kind = chance.random()
    if kind < 0.9:
        return chance.random() * 6
    if kind < 0.98:
        return 6 + chance.random() * 300
    if kind < 0.997:
        return 600 + chance.random() * 3000
    return 7200 + chance.random() * 64800


def requests(options, chance):
    """(second of the request, second of its arrival, line), in the order in which requests are made."""
    second, end = 0.0, options.days * 86400 + TAIL_SECONDS
    while True:
        # Most at three in the afternoon, a third of that at three at night.
        rate = options.per_minute / 60 * (1 - 0.5 * math.cos((second / 3600 - 3) * math.pi / 12))
        second += -math.log(1 - chance.random()) / rate
        if second >= end:
            return
        number = 1 + int(chance.random() * options.users)
        name, address = user(number)
        variant = "AB"[number % 2]
        box = int(chance.random() < OPENS[variant])
        prices = PRICES[variant]
        price = prices[int(chance.random() * len(prices))]
        made = options.start + timedelta(seconds=int(second))
        line = f"GET {address} /purchase/{name}/list?itembox={box}&minprice={price}&since={made:{FORM}} HTTP/1.1"
        yield second, second + delay(chance), line


def arrivals(options, chance):
    """(second of the arrival, line), in the order in which lines arrive."""
    under_way = []
    for count, (made, arrives, line) in enumerate(requests(options, chance)):
        while under_way and under_way[0][0] <= made:
            arrived = heapq.heappop(under_way)
            yield arrived[0], arrived[2]
        heapq.heappush(under_way, (arrives, count, line))
    while under_way:
        arrived = heapq.heappop(under_way)
        yield arrived[0], arrived[2]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--start", type=lambda text: datetime.strptime(text, FORM), default="20220830-000000")
    parser.add_argument("--days", type=float, default=3)
    parser.add_argument("--users", type=int, default=500)
    parser.add_argument("--per-minute", type=float, default=20, help="requests, on average over a day")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--speed", type=float, help="so many seconds of the log in a second; without it, all at once")
    options = parser.parse_args()
    began = time.monotonic()
    for second, line in arrivals(options, random.Random(options.seed)):
        if options.speed:
            wait = began + second / options.speed - time.monotonic()
            if wait > 0:
                sys.stdout.flush()
                time.sleep(wait)
        sys.stdout.write(line + "\n")


if __name__ == "__main__":
    try:
        main()
    except BrokenPipeError:
        sys.exit(1)
