"""RunSpec and its link: what is written reads back, no text raises, picks are a pure function."""

import json
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.link.fields import OFF, write_number
from app.link.options import LEAVES, OBJECTIVES, ORDERS
from app.link.picks import Pick, reduce
from app.link.spec import OPENING, RunSpec, from_query, keys, printable, settle, to_query
from ash.methods import SCORE_LABELS, VARIANTS, Method
from ash.names import why_no_name

P = write_number(RunSpec().p)
OTHERS = ("odin", "mahalanobis", "dice@70", "react@1.0+dice@10", "ash_b@65:odin", "ash_b_global@65", "react@90%")
names = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.+-]{0,20}", fullmatch=True)
sets = st.from_regex(r"[A-Za-z0-9_é][A-Za-z0-9_.é-]{0,20}", fullmatch=True).filter(lambda name: not why_no_name(name))
lines = st.from_regex(r"[A-Za-z0-9_/ .,&-]{0,40}", fullmatch=True).map(str.strip)
# what a score can be: a float32, and not smaller than its smallest number of full precision
finite = st.just(0.0) | st.floats(1e-37, 3.4e38) | st.floats(-3.4e38, -1e-37)
percentiles = st.just(0.0) | st.floats(1, 100, exclude_max=True)
specs = st.builds(
    RunSpec.of,
    model=names,
    placement=names,
    variant=st.sampled_from(tuple(VARIANTS)),
    p=percentiles,
    c=st.floats(1e-4, 1e6),
    score=st.sampled_from(tuple(SCORE_LABELS)),
    ood=st.lists(sets, unique=True, max_size=4).map(tuple),
    x=st.sampled_from(OBJECTIVES),
    y=st.sampled_from(OBJECTIVES),
    on=sets | st.just("mean"),
    budget=st.just(OFF) | st.just(0.0) | st.floats(0.001, 100),
    show_all=st.booleans(),
    others=st.booleans(),
    axis=st.sampled_from(("relative", "raw", "rank")),
    set=sets | st.just("all"),
    tpr=st.floats(0.001, 100),
    curve=st.sampled_from(("hist", "roc", "pr")),
    source=sets | st.just("id"),
    sample=st.integers(0, 999_999_999),
    view=st.sampled_from(("units", "maps", "logits")),
    id=sets,
    images=st.integers(0, 999_999_999),
    dtype=st.sampled_from(("float32", "float16")),
    more=st.lists(names.filter(lambda name: name != "none"), unique=True, max_size=4).map(tuple),
    cells=st.sampled_from(OBJECTIVES),
    shelf=st.sampled_from(("models", "data", "activations")),
    leaf=st.sampled_from(LEAVES),
    column=sets | st.just("mean"),
    beside=st.sampled_from(("sidebar", "own")),
    rules=st.sampled_from(("ours", "authors")),
    other=st.sampled_from(("", *OTHERS)),
    look=st.sampled_from(("story", "grid", "one", "own")),
    among=sets | st.sampled_from(("all", "id", "!id")),
    verdict=st.sampled_from(("all", "accepted", "rejected")),
    change=st.sampled_from(("all", "rescued", "broken")),
    true=lines,
    predicted=lines,
    scores=st.just(()) | st.lists(finite, min_size=2, max_size=2).map(lambda pair: tuple(sorted(pair))),
    find=lines,
    order=st.sampled_from(ORDERS),
    descending=st.booleans(),
    page=st.integers(0, 999_999_999),
    pin=lines,
    part=st.sampled_from(("percentiles", "top5", "where")),
    room=st.sampled_from(("steps", "predict", "relu")),
    step=st.integers(0, 999_999_999),
    question=names,
    lesson=names,
)


@given(specs, st.booleans())
def test_a_link_reads_back_as_the_spec_it_was_written_from(spec: RunSpec, every: bool) -> None:
    query = dict(parse_qsl(urlencode(to_query(spec, every)), keep_blank_values=True))
    assert from_query(query) == (spec, [])


@given(specs)
def test_the_method_of_a_spec_can_be_picked_again(spec: RunSpec) -> None:
    assert reduce(spec, Pick.method(str(spec.method))).method == Method.parse(str(spec.method))


@given(st.dictionaries(st.sampled_from([key.key for key in keys().values()] + ["v", "nonsense"]), st.text(max_size=60)))
def test_no_text_in_a_link_raises(query: dict[str, str]) -> None:
    spec, notices = from_query(query)
    assert from_query(to_query(spec)) == (spec, [])
    assert str(spec.method)
    assert all(len(notice) < 200 and "\n" not in notice for notice in notices)


@given(st.sampled_from([*keys(), "nonsense"]), st.text() | st.integers() | st.floats() | st.booleans() | st.none())
def test_no_value_of_a_widget_raises(name: str, value: object) -> None:
    spec = reduce(RunSpec(), Pick.field(name, value))
    assert from_query(to_query(spec)) == (spec, [])


@given(specs, specs)
def test_a_field_has_one_name_whichever_record_holds_it(spec: RunSpec, other: RunSpec) -> None:
    values = {name: spec.value(name) for name in keys()}
    assert RunSpec.of(**values) == other.having(**values) == spec
    for name, value in values.items():
        changed = other.having(**{name: value})
        wanted = {one: value if one == name else other.value(one) for one in keys()}
        assert {one: changed.value(one) for one in keys()} == wanted


@pytest.mark.parametrize("name", ["nonsense", "tradeoff", "method"])
def test_what_is_no_field_cannot_be_set_or_read(name: str) -> None:
    for change in (RunSpec.of, RunSpec().having):
        with pytest.raises(TypeError, match=name):
            change(**{name: 1})
    with pytest.raises(TypeError, match=name):
        RunSpec().value(name)


def test_the_fields_and_their_keys_are_unique_and_fit_their_defaults() -> None:
    records = [one for one in vars(RunSpec()).values() if is_dataclass(one)]
    held = [one.name for record in (RunSpec(), *records) for one in fields(record) if "link" in one.metadata]
    assert sorted(held) == sorted(keys())
    links = [key.key for key in keys().values()]
    assert len(set(links)) == len(links)
    assert "v" not in links
    assert to_query(OPENING) == {}
    assert set(to_query(RunSpec(), every=True)) == {*links, "v"}


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        ({"p": "abc"}, f"The link says p=abc instead of a percentile in [0, 100): {P} is used."),
        ({"p": "100"}, f"The link says p=100 instead of a percentile in [0, 100): {P} is used."),
        ({"p": "nan"}, f"The link says p=nan instead of a percentile in [0, 100): {P} is used."),
        (
            {"c": "-1"},
            f"The link says c=-1 instead of a threshold in [0.0001, 1e+06]: {write_number(RunSpec().c)} is used.",
        ),
        (
            {"on": "../../etc"},
            "The link says on=..?..?etc instead of 'mean', 'near', 'far' or an OOD set: mean is used.",
        ),
        (
            {"split": "half"},
            "The link says split=half instead of a part of the images (test, all): test is used.",
        ),
        ({"v": "9"}, "This link has version 9, this program reads version 1."),
    ],
)
def test_junk_falls_back_with_one_sentence(query: dict[str, str], sentence: str) -> None:
    spec, notices = from_query(query)
    assert spec == (RunSpec() if set(query) != {"v"} else OPENING)
    assert notices == [sentence]


LONG = "9" * 10_000
ABSURD = (
    *("nan", "inf", "-inf", "1e999", "-1e999", "5e-324", "1e-320", "5e-999", LONG, f"0.{'0' * 10_000}1", f"6{LONG}"),
    *(
        "-65",
        "-1e300",
        "1e300",
        "6_5",
        " 65 ",
        "６５",
        "0x41",
        "65;",
        "65,",
        "1e9999999999",
        "--65",
        "",
        "+",
        ".",
        "e5",
    ),
)
NUMBERS = ("p", "c", "tpr", "budget", "n", "sample", "page", "step")


@pytest.mark.parametrize("key", NUMBERS)
@pytest.mark.parametrize("text", ABSURD, ids=lambda text: text[:12])
def test_an_absurd_number_is_refused_with_a_notice_and_not_carried(key: str, text: str) -> None:
    if (key, text) == ("budget", ""):
        return  # how "off" may be written
    spec, notices = from_query({key: text})
    assert spec == RunSpec()
    assert len(notices) == 1
    assert len(notices[0]) < 200


@pytest.mark.parametrize("text", [*(f"{a},{b}" for a in ABSURD for b in ("0", "1")), "1,0", "1,2,3", "1"])
def test_an_absurd_interval_is_refused(text: str) -> None:
    usual = {"-65,0", "-65,1"}
    assert (from_query({"scores": text})[0] == RunSpec()) is (text not in usual)


@pytest.mark.parametrize(
    "query",
    [
        *({key: LONG} for key in ("model", "ood", "placement", "true", "find", "pin", "method", "lesson", "variant")),
        {"ood": ",".join(f"set{n}" for n in range(1000))},
        *({"method": text} for text in ("react@5e-324+ash_s@90", "react@1e300+dice@5", "react@1.0+" * 400 + "dice@5")),
    ],
    ids=lambda query: " ".join(query),
)
def test_what_is_too_long_or_no_method_is_refused(query: dict[str, str]) -> None:
    spec, notices = from_query(query)
    assert (spec, len(notices)) == (RunSpec(), 1)


SAVED = json.loads((Path(__file__).parents[1] / "saved_links.json").read_text())


@pytest.mark.parametrize("saved", SAVED, ids=lambda saved: saved["link"][:60])
def test_a_link_that_was_saved_means_what_it_meant(saved: dict[str, Any]) -> None:
    query = dict(parse_qsl(urlsplit(saved["link"]).query, keep_blank_values=True))
    spec, notices = from_query(query)
    means = {name: tuple(value) if isinstance(value, list) else value for name, value in saved["means"].items()}
    assert spec == (RunSpec.of(**means) if query else OPENING)  # a bare address is what the app opens with
    assert notices == []


def test_zero_and_fractions_survive() -> None:
    for p in (0.0, 66.7, 99.5):
        assert from_query(to_query(RunSpec(p=p)))[0].p == p
    assert to_query(RunSpec(p=0.0)) == {"p": "0"}


def test_unknown_keys_are_ignored() -> None:
    assert from_query({"utm_source": "mail", "p": "70"}) == (RunSpec(p=70.0), [])


def test_a_sentence_never_carries_markup() -> None:
    shown = printable("[x](javascript:alert(1))<script>`*" * 3)
    assert not set(shown) & set("[]()<>`*")
    assert len(shown) <= 24


def test_names_the_server_does_not_have_are_replaced() -> None:
    spec = RunSpec(placement="layer9", ood=("digits", "gone"), on="gone")
    known = {"placement": ("avgpool", "layer3"), "ood": ("digits", "noise"), "on": ("mean", "digits")}
    settled, notices = settle(spec, known)
    assert settled == replace(spec, placement="avgpool", ood=("digits",), on="mean")
    assert notices == [
        "The link says placement=layer9, which is not known here: avgpool is used.",
        "The link says ood=gone, which is not known here: digits is used.",
        "The link says on=gone, which is not known here: mean is used.",
    ]
    assert settle(settled, known) == (settled, [])


def test_a_name_with_an_alias_is_settled_without_a_word() -> None:
    known = {"placement": {"penultimate": "penultimate", "avgpool": "penultimate", "layer3": "layer3"}}
    for name, settled in known["placement"].items():
        assert settle(RunSpec(placement=name), known) == (RunSpec(placement=settled), [])
    assert settle(RunSpec(placement="gone"), known)[0].placement == "penultimate"


def test_another_model_forgets_what_belonged_to_the_last_one() -> None:
    spec = RunSpec.of(
        placement="layer3", id="mine", ood=("a",), on="a", sample=3, more=("x",), images=100, variant="ash_s"
    )
    assert reduce(spec, Pick.field("model", "resnet50")) == RunSpec(model="resnet50", variant="ash_s")
    assert reduce(spec, Pick.field("model", spec.model)) == spec
    changed = reduce(spec, Pick.field("id", "other"))
    assert (changed.id, changed.ood, changed.sample, changed.placement) == ("other", (), 0, "layer3")


OF_IMAGES: dict[str, Any] = {
    "ood": ("a",),
    "on": "a",
    "set": "a",
    "source": "a",
    "sample": 3,
    "among": "a",
    "true": "cat",
    "predicted": "dog",
    "scores": (0.0, 1.0),
    "page": 2,
    "pin": "a:3",
}


@pytest.mark.parametrize("name", OF_IMAGES)
@pytest.mark.parametrize("changed", [{"model": "resnet50"}, {"id": "mine"}], ids=["model", "id"])
def test_what_is_said_of_some_images_is_forgotten_with_them(name: str, changed: dict[str, str]) -> None:
    ((field, value),) = changed.items()
    spec = RunSpec.of(**{name: OF_IMAGES[name]})
    assert reduce(spec, Pick.field(field, value)) == RunSpec.of(**changed)


FILTERS: dict[str, Any] = {
    "among": "id",
    "verdict": "accepted",
    "change": "broken",
    "true": "cat",
    "predicted": "dog",
    "scores": (0.0, 1.0),
    "find": "beach",
    "order": "name",
    "descending": True,
}


@pytest.mark.parametrize("name", FILTERS)
def test_other_samples_begin_at_the_first_page(name: str) -> None:
    changed = {name: FILTERS[name]}
    assert reduce(RunSpec.of(page=3), Pick.field(name, FILTERS[name])) == RunSpec.of(**changed)


@pytest.mark.parametrize(
    ("key", "text", "taken"),
    [
        *(("tpr", text, taken) for text, taken in (("0", False), ("0.0009", False), ("0.001", True), ("100", True))),
        *(("tpr", "100.1", False), ("budget", "0", True), ("budget", "100", True), ("budget", "100.1", False)),
        *(("budget", "0.0009", False), ("budget", "0.001", True)),
    ],
)
def test_where_a_share_begins_and_ends(key: str, text: str, taken: bool) -> None:
    spec, notices = from_query({key: text})
    assert (spec.value(key) == float(text), notices == []) == (taken, taken)


def test_a_set_that_a_link_names_twice_counts_once() -> None:
    assert from_query({"ood": "digits,noise,digits"}) == (RunSpec(ood=("digits", "noise")), [])


def test_an_interval_may_be_one_score() -> None:
    assert from_query({"scores": "1.5,1.5"}) == (RunSpec.of(scores=(1.5, 1.5)), [])


def test_a_cell_loads_a_method_at_a_placement() -> None:
    spec = RunSpec(model="resnet50")
    assert reduce(spec, Pick.cell("layer4.2.relu_2 ash_s@90")) == replace(
        spec, placement="layer4.2.relu_2", variant="ash_s", p=90.0
    )
    for junk in ("", " ", "layer4", "../x ash_s@90", "layer4 nonsense"):
        loaded = reduce(spec, Pick.cell(junk))
        assert loaded == spec or (junk.startswith("../") and loaded.placement == spec.placement)


@pytest.mark.parametrize("text", OTHERS)
def test_a_method_beyond_the_sidebar_takes_its_place_until_a_control_is_moved(text: str) -> None:
    spec = RunSpec(variant="ash_s", p=90.0)
    loaded = reduce(spec, Pick.method(text))
    assert loaded == replace(spec, other=text)
    assert loaded.method == Method.parse(text)
    for name, value in (("variant", "ash_p"), ("p", 50.0), ("c", 2.0), ("score", "msp")):
        moved = reduce(loaded, Pick.field(name, value))
        assert moved == spec.having(**{name: value})
    assert reduce(loaded, Pick.field("on", "digits")).other == text
    assert reduce(loaded, Pick.method("ash_b@65")) == replace(spec, variant="ash_b", p=65.0)


@pytest.mark.parametrize("text", ["ash_s@90", "scale@85:msp", "react@1.5", "energy", "max_logit"])
def test_a_method_of_the_sidebar_in_a_link_is_what_its_controls_say(text: str) -> None:
    spec, notices = from_query({"method": text})
    assert notices == []
    assert spec.other == ""
    assert spec.method == Method.parse(text)
    assert from_query(to_query(spec)) == (spec, [])


def test_a_method_that_is_none_or_absurd_is_refused() -> None:
    for text in ("nonsense", "odin+dice@5", "react@1e300"):
        spec, notices = from_query({"method": text})
        assert replace(spec, variant=RunSpec().variant) == RunSpec()
        assert len(notices) == 1


def test_a_line_of_the_paper_loads_its_network_and_method() -> None:
    spec = RunSpec.of(placement="layer3", p=40.0, leaf="table4")
    assert reduce(spec, Pick.line("resnet50 ash_s@90")) == replace(
        spec, model="resnet50", placement="penultimate", variant="ash_s", p=90.0
    )
    assert reduce(spec, Pick.line("resnet50 dice@70")).other == "dice@70"
    for junk in ("", "resnet50", "resnet50 nonsense", "../x nonsense"):
        assert reduce(spec, Pick.line(junk)) == spec


def test_picks() -> None:
    spec = RunSpec(variant="ash_b", p=65.0, budget=2.0)
    assert reduce(spec, Pick.method("ash_s@90:msp")) == replace(spec, variant="ash_s", p=90.0, score="msp")
    assert reduce(spec, Pick.method("react@1.5")) == replace(spec, variant="react", c=1.5)
    assert reduce(spec, Pick.method("energy")) == replace(spec, variant="none")  # p stays for the way back
    assert reduce(spec, Pick.method("ash_z@5")) == spec
    for text in ("dice@90", "react@1.0+ash_s@90", "ash_b_global@65", "odin", "mahalanobis"):
        assert reduce(spec, Pick.method(text)) == replace(spec, other=str(Method.parse(text)))
    assert reduce(spec, Pick.field("p", 70)) == replace(spec, p=70.0)
    assert reduce(spec, Pick.field("p", 100)) == spec
    assert reduce(spec, Pick.field("ood", ("digits",))) == replace(spec, ood=("digits",))
    assert reduce(spec, Pick.field("show_all", True)) == replace(spec, show_all=True)
    assert reduce(spec, Pick.reset()) == OPENING


@pytest.mark.parametrize("p", ["0.9", "0.5", "0.65", "0.99", "-0.5", "100"])
def test_a_share_is_no_percentile_in_a_link(p: str) -> None:
    spec, notices = from_query({"variant": "ash_s", "p": p})
    assert spec.p == RunSpec().p
    assert any(f"p={p} instead of" in notice for notice in notices)


def test_a_score_that_reads_more_than_logits_stays_while_the_controls_move() -> None:
    spec = reduce(RunSpec(variant="ash_s", p=75.0), Pick.score("knn"))
    assert (str(spec.method), spec.p) == ("ash_s@75:knn", 75)
    spec = reduce(spec, Pick.field("p", 80))
    assert str(spec.method) == "ash_s@80:knn"
    spec = reduce(spec, Pick.field("variant", "react"))
    assert str(spec.method) == "react@1.0:knn"
    spec = reduce(spec, Pick.field("variant", "none"))
    assert str(spec.method) == "knn"
    assert from_query(to_query(spec)) == (spec, [])
    assert reduce(spec, Pick.score("gen")) == RunSpec(variant="none", p=80.0, score="gen")
    assert reduce(spec, Pick.score("nonsense")) == spec
    loaded = reduce(RunSpec(), Pick.method("ash_s@85:vim@3"))
    assert (loaded.variant, loaded.p, loaded.other) == ("ash_s", 85, "ash_s@85:vim@3")
    assert reduce(loaded, Pick.field("p", 60)).other == "ash_s@60:vim@3"
    other = reduce(RunSpec(), Pick.method("ash_s@85:odin"))
    assert reduce(other, Pick.field("p", 60)).other == "", "a control replaces what it does not say"


def test_a_score_that_follows_no_shape_stands_alone_until_another_control_is_moved() -> None:
    spec = RunSpec(variant="ash_s", p=75.0)
    alone = reduce(spec, Pick.score("adascale"))
    assert alone == replace(spec, other="adascale")
    assert reduce(alone, Pick.field("other", "adascale@60")) == replace(spec, other="adascale@60")
    assert reduce(alone, Pick.field("variant", "ash_b")) == replace(spec, variant="ash_b")
    assert reduce(alone, Pick.field("p", 60)) == replace(spec, p=60.0)
    assert reduce(alone, Pick.score("knn")).other == "ash_s@75:knn"
    assert reduce(alone, Pick.score("msp")) == replace(spec, score="msp")
