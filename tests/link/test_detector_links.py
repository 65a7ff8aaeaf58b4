"""A link as `python -m ash export` reads it: the same setting that the app reads in it."""

import json
from pathlib import Path
from urllib.parse import parse_qsl, urlencode, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.link.spec import OPENING, RunSpec, from_query, to_query
from ash import links
from ash.links import LinkError, View
from ash.methods import SCORE_LABELS, VARIANTS
from ash.models import get_model
from ash.results import SUBSET_ID

LINKS = [one["link"] for one in json.loads((Path(__file__).parents[1] / "saved_links.json").read_text())]
ADDRESS = "http://localhost:8501/scores"


def of(spec: RunSpec) -> View:
    """What a spec says of a detector."""
    return View(spec.model, spec.placement, spec.method, spec.id, spec.images, spec.dtype, spec.tpr, spec.checkpoint)


@given(
    spec=st.builds(
        RunSpec.of,
        model=st.sampled_from(("demo", "resnet50", "timm/resnet10t.c3_in1k", "hf-hub:a/b", "hf-hub:a/b@v1.0")),
        placement=st.sampled_from(("penultimate", "layer3.0.relu2")),
        variant=st.sampled_from(tuple(VARIANTS)),
        p=st.just(0.0) | st.floats(1, 100, exclude_max=True),
        c=st.floats(1e-4, 1e6),
        score=st.sampled_from(tuple(SCORE_LABELS)),
        other=st.sampled_from(("", "dice@70", "react@1.0+ash_s@80:msp", "ash_b@65:knn")),
        id=st.sampled_from(("", "mine")),
        images=st.integers(0, 999_999_999),
        dtype=st.sampled_from(("float32", "float16")),
        checkpoint=st.sampled_from(("", "seed1", "s0/best", "a & b=c")),
        tpr=st.floats(0.001, 100),
    ),
    every=st.booleans(),
)
def test_every_link_says_the_same_to_both(spec: RunSpec, every: bool) -> None:
    query = urlencode(to_query(spec, every=every), safe=",")
    for text in (f"{ADDRESS}?{query}", f"?{query}", *([query] if query else [])):
        assert links.read(text) == of(spec)


@pytest.mark.parametrize("link", [one for one in LINKS if "%00" not in one])
def test_links_that_were_kept_say_the_same_to_both(link: str) -> None:
    spec, notices = from_query(dict(parse_qsl(urlsplit(link).query)))
    if notices:
        return  # the app says what is wrong and goes on; the command line refuses
    said = links.read(f"http://localhost:8501{link}")
    if not (dict(parse_qsl(urlsplit(link).query)).keys() - links.OF_NO_VIEW - links.DEFAULTS.keys()):
        assert said == of(spec)


def test_the_defaults_are_the_apps() -> None:
    assert links.read("model=demo") == of(RunSpec())
    assert links.read(f"{ADDRESS}?") == links.read(ADDRESS) == links.read(f"{ADDRESS}?v=1") == of(OPENING)


def test_at_a_deep_placement_as_many_images_are_taken_as_the_app_takes() -> None:
    demo = get_model("demo")
    assert links.read("model=demo").images_of(demo) is None
    assert links.read("model=demo&placement=avgpool").images_of(demo) is None
    assert links.read("model=demo&placement=layer3.0.relu2").images_of(demo) == SUBSET_ID
    assert links.read("model=demo&placement=layer3.0.relu2&n=50").images_of(demo) == 50


@pytest.mark.parametrize(
    ("link", "words"),
    [
        ("demo", "'demo' is no link of the explorer"),
        ("", "is no link"),
        ("variant=ash_z", "variant=ash_z is no variant: .*ash_s"),
        ("variant=ash_s&p=high", "p=high is no number"),
        ("tpr=0", "tpr=0 is no share"),
        ("tpr=nan", "tpr=nan is no share"),
        ("n=-1", "n=-1 is no number of images"),
        ("dtype=int8", "dtype=int8 is no number format"),
    ],
)
def test_what_no_link_can_say_is_refused_in_a_sentence(link: str, words: str) -> None:
    with pytest.raises(LinkError, match=words):
        links.read(link)


def test_a_rooms_short_link_is_refused() -> None:
    for link in ("http://192.168.1.20:8501/go/k3fq", "https://ash.example.org/base/go/k3fq/"):
        with pytest.raises(LinkError, match="short link"):
            links.read(link)
    assert links.read("model=demo&find=a?b").model == "demo"
