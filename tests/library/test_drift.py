"""Drift: a sentence that is true as often as it says, and none where there are too few images for one."""

import numpy as np
import pytest

from ash.drift import LEAST, compared, words
from ash.metrics import threshold_at_tpr

RNG = np.random.default_rng(0)
BEFORE = RNG.normal(size=2000)
AT = threshold_at_tpr(BEFORE, 0.9)


def test_images_of_the_same_kind_are_called_others_as_seldom_as_it_says() -> None:
    found = [compared(RNG.normal(size=40), BEFORE, len(BEFORE), 0.9, AT) for _ in range(400)]
    false, far = np.mean([one.changed for one in found]), np.mean([one.distance > one.chance for one in found])
    print(f"called others {false:.3f}, farther than chance {far:.3f}")
    assert false < 0.08
    assert 0.01 < far < 0.09, "0.05 is what `chance` means"


def test_other_images_are_told_and_how_far_they_lie() -> None:
    other = compared(RNG.normal(-1.5, 1, LEAST), BEFORE, len(BEFORE), 0.9, AT)
    assert other.changed
    assert other.distance > other.chance
    said = words(other, "Photos")
    assert said[-1] == "These are other images than those of Photos."
    assert "of Photos" in said[0]
    assert "by chance up to 0." in said[1]
    again = compared(BEFORE[:500], BEFORE, len(BEFORE), 0.9, AT)
    assert len(words(again, "Photos")) == 2


@pytest.mark.parametrize(("count", "start"), [(1, "1 image is"), (LEAST - 1, f"{LEAST - 1} images are")])
def test_of_too_few_it_says_how_many_it_takes(count: int, start: str) -> None:
    found = compared(RNG.normal(-9, 1, count), BEFORE, len(BEFORE), 0.9, AT)
    assert words(found, "Photos") == (
        f"{start} too few to say whether they are like those of Photos: it takes {LEAST}.",
    )
