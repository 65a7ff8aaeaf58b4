"""After any burst of keys, page changes, Back and Forward the address, the controls and the page say the same.

`ASH_BURSTS` says how many bursts (a few by default), `ASH_SEED` which.
"""

import os
import random
from collections.abc import Callable

import pytest
from bursts import START, burst
from driver import Visitor

pytestmark = pytest.mark.browser


def test_bursts_leave_address_controls_and_page_in_agreement(visitor: Callable[..., Visitor]) -> None:
    one = visitor().open(START)
    rng = random.Random(int(os.environ.get("ASH_SEED", "1")))
    for number in range(int(os.environ.get("ASH_BURSTS", "20"))):
        found = burst(one, rng)
        assert not found.fault, f"burst {number}, {found.actions}: {found.fault}"
        if number % 20 == 19:  # a history of thousands of entries slows the browser down
            one.open(START)
