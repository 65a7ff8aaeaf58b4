"""What a module of tests compares with an oracle: the largest differences, printed when all of it is done."""

from collections.abc import Iterator

import pytest


def printed(request: pytest.FixtureRequest, title: str) -> Iterator[dict[str, float]]:
    """For a fixture of a module: what is compared -> its largest difference, printed under the title at the end."""
    found: dict[str, float] = {}
    yield found
    capture = request.config.pluginmanager.getplugin("capturemanager")
    with capture.global_and_fixture_disabled():
        print(f"\nlargest differences {title}:")
        for name, value in found.items():
            print(f"  {name:34} {value:.1e}")
