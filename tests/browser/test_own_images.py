"""Own images through the real upload endpoint: verdicts, sentences, and nothing left after "Remove all"."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from driver import Visitor
from playwright.sync_api import FilePayload, expect

sys.path.append(str(Path(__file__).parents[1]))

from hostile_uploads import KINDS

pytestmark = pytest.mark.browser
SOME = (  # not "very long name": the server's form parser answers 400 by itself
    *("zero bytes", "half a jpeg", "jpeg of noise", "png that says 100 megapixels", "png with a bomb of text"),
    *("animated webp", "svg named png", "postscript named png", "png of very many chunks", "name with a nul"),
    *("jpeg named png", "cmyk jpeg", "one pixel", "name with markup"),
)


def test_dropped_files_get_verdicts_and_sentences(visitor: Callable[..., Visitor]) -> None:
    one = visitor().open("/samples?look=own")
    cases = [KINDS[kind]() for kind in SOME]
    files: list[FilePayload] = [{"name": case.name, "mimeType": "image/png", "buffer": case.data} for case in cases]
    one.page.set_input_files("input[type=file]", files)
    scored = sum(not case.refused for case in cases)
    expect(one.page.locator(".st-key-own_cards h5")).to_have_count(scored, timeout=60_000)
    one.ready()
    sentences = one.page.locator(".st-key-own_refused [data-testid=stText]").all_inner_texts()
    assert len(sentences) == len(cases) - scored
    for case in cases:
        assert not case.refused or any(case.says in text for text in sentences), case.says
    expect(one.page.locator(".st-key-own_cards")).to_contain_text("IQR")
    assert not one.page.locator("[data-testid=stMain] img[src=x]").count()
    one.link("Scores").title("Scores").back().title("Samples")
    expect(one.page.locator(".st-key-own_cards h5")).to_have_count(scored)
    one.ready().page.get_by_role("button", name="Remove all").click()
    expect(one.page.locator(".st-key-own_cards h5")).to_have_count(0)
    expect(one.page.locator(".st-key-own_refused")).to_have_count(0)
