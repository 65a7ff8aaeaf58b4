"""The program of the charts: it is the explorer's own, of the version that figures are checked against."""

import re

import plotly

from app.serving import plotly_js as program


def test_it_is_of_the_version_that_checks_the_figures_and_its_address_says_so() -> None:
    (version,) = re.findall(r"plotly\.js \(cartesian - minified\) v([\d.]+)", program.text())
    checks = re.search(r"plotly\.js v([\d.]+)", plotly.offline.get_plotlyjs()[:300])
    assert checks
    assert version == checks[1]
    assert version in program.ADDRESS
    assert "MIT" in (program.FILE.parent / "LICENSE").read_text()
