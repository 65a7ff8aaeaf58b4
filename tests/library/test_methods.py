"""A method's text: parse and print are inverse, a typo is answered with the nearest valid form."""

import contextlib
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import ash
from ash.methods import SCORE_LABELS, STEPS, VARIANTS, MethodError, Step, baselines, parse_methods
from ash.scores import SCORES

PERCENTS = st.one_of(st.just(0.0), st.integers(1, 99).map(float), st.floats(1, 99.99).map(lambda p: round(p, 4)))
METHODS = st.builds(
    lambda variant, p, c, score: ash.Method(
        variant, {"percentile": p, "threshold": c, None: None}[VARIANTS[variant].parameter], score
    ),
    st.sampled_from(list(VARIANTS)),
    PERCENTS,
    st.floats(1e-6, 1e6),
    st.sampled_from(list(SCORE_LABELS)),
)


def _scores(prepared: bool) -> st.SearchStrategy[str]:
    """Texts of scores that may follow a shape, with their parameter or without it."""
    names = [name for name, score in SCORES.items() if score.follows and (prepared or not score.prepared)]

    def text(name: str) -> st.SearchStrategy[str]:
        taken = SCORES[name].parameter
        if taken is None:
            return st.just(name)
        values = st.integers(1, 999).map(float) if taken.whole else st.floats(taken.low, taken.high)
        return st.one_of(st.just(name), values.map(lambda value: f"{name}@{value!r}"))

    return st.sampled_from(names).flatmap(text)


VALUES = {"percentile": PERCENTS, "threshold": st.floats(1e-6, 1e20), None: st.just(0.0)}


def step_of(name: str) -> st.SearchStrategy[Step]:
    """Steps of a variant: with no number, one, or two, of which a threshold may be 0."""
    values = VALUES[STEPS[name].parameter]
    if not STEPS[name].pair:
        return st.builds(Step, st.just(name), values)
    pairs = st.tuples(st.just(0.0) | values, values).map(sorted).filter(lambda pair: pair[0] < pair[1])
    return pairs.map(lambda pair: Step(name, pair[0], upper=pair[1]))


ONE = st.sampled_from([name for name in STEPS if name != "dice"]).flatmap(step_of)
WHOLE = st.one_of(
    st.builds(
        lambda some, dice, score: ash.Method(steps=(*some, dice), score=score),
        st.lists(ONE, max_size=4),
        st.builds(Step, st.just("dice"), PERCENTS),
        _scores(prepared=False),
    ),
    st.builds(lambda some, score: ash.Method(steps=tuple(some), score=score), st.lists(ONE, max_size=4), _scores(True)),
    st.just(ash.Method(score="godin")),
)


@given(METHODS | WHOLE)
def test_parse_and_print_are_inverse(method: ash.Method) -> None:
    again = ash.Method.parse(str(method))
    assert again == method
    assert hash(again) == hash(method)
    assert replace(method, score=method.score) == method
    if len(method.steps) == 1 and not method.steps[0].variant.pair:
        assert ash.Method(method.variant, method.parameter, method.score) == method
    assert "None" not in method.label


@given(st.lists(METHODS | WHOLE, min_size=1, max_size=5, unique=True), st.sampled_from([",", " , "]))
def test_a_list_of_methods_is_read_as_it_is_written(methods: list[ash.Method], comma: str) -> None:
    assert parse_methods(comma.join(map(str, methods))) == methods


@given(st.text(max_size=30) | st.text("vra@s:+,.% 0159", max_size=20).map("vra@0.5,".__add__))
def test_no_text_does_anything_but_parse_or_explain(text: str) -> None:
    with contextlib.suppress(MethodError):
        assert parse_methods(text)


@pytest.mark.parametrize(
    ("text", "variant", "parameter", "score"),
    [
        ("energy", "none", None, "energy"),
        ("msp", "none", None, "msp"),
        ("ash_s@90", "ash_s", 90, "energy"),
        ("ash_b@65:msp", "ash_b", 65, "msp"),
        ("react@1.0", "react", 1.0, "energy"),
        (" ash_p@0 ", "ash_p", 0, "energy"),
        ("ash_rand@66.7:max_logit", "ash_rand", 66.7, "max_logit"),
        ("react@90%", "react%", 90, "energy"),
        ("dice@70", "dice", 70, "energy"),
        ("ash_b_global@95:msp", "ash_b_global", 95, "msp"),
        ("ash_b@65:odin", "ash_b", 65, "odin"),
        ("mahalanobis", "none", None, "mahalanobis"),
        ("react@1e+16", "react", 1e16, "energy"),
        ("ash_s@90:mahalanobis", "ash_s", 90, "mahalanobis"),
        ("knn@50", "none", None, "knn"),
        ("ash_s@90:knn@200", "ash_s", 90, "knn@200"),
        ("ash_b@65:gen@0.25", "ash_b", 65, "gen@0.25"),
        ("vim@64.0", "none", None, "vim@64"),
        ("scale@85", "scale", 85, "energy"),
        ("lts@95:msp", "lts", 95, "msp"),
        ("bfact@2", "bfact", 2, "energy"),
        ("bfact@95%", "bfact%", 95, "energy"),
        ("ras:msp", "ras", None, "msp"),
    ],
)
def test_forms(text: str, variant: str, parameter: float | None, score: str) -> None:
    assert ash.Method.parse(text) == ash.Method(variant, parameter, score)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("ash-s@90", "did you mean ash_s@90"),
        ("ahs_b@65", "did you mean ash_b@65"),
        ("enregy", "did you mean energy"),
        ("ash_s", "needs its percentile; write for example ash_s@90"),
        ("react", "needs its threshold"),
        ("ash_s@100", r"p must lie in \[0, 100\), got 100"),
        ("ash_s@-1", r"p must lie in \[0, 100\)"),
        ("ash_s@nan", r"p must lie in \[0, 100\)"),
        ("ash_s@0.9", "write ash_s@90 to remove 90%"),
        ("ash_s@ninety", "'ninety' is not a number"),
        ("react@0", "must be a positive number"),
        ("react@inf", "must be a positive number"),
        ("ash_s@90:mps", "did you mean ash_s@90:msp"),
        ("ash_s@90:", "there is no score ''"),
        ("", "is not a method"),
        ("react@90+dice@x", "'x' is not a number"),
        ("react@1.0+dcie@10", "did you mean dice@10"),
        ("react@100%", r"p must lie in \[0, 100\), got 100; write for example react@90%"),
        ("react@0.9%", "write react@90% to clip at the 90th percentile"),
        ("dice@10+react@1.0", "dice masks the weights of the last layer, so it is the last step, and once"),
        ("dice@10+dice@20", "it is the last step, and once"),
        ("ash_s@90:godin", "godin looks at the network as it is; write godin alone"),
        ("dice@70:knn", "dice masks weights and leaves alone what knn reads; write another score"),
        ("knn@0", r"'knn@0': K is a whole number from 1 to 100000; write for example knn@50"),
        ("ash_s@90:knn@1.5", r"'ash_s@90:knn@1.5': K is a whole number"),
        ("knn@many", "'many' is not a number"),
        ("gen@inf", "'inf' is not a finite number"),
        ("ash_s@90:she@3", "she takes no number; write she alone"),
        ("react@1.0+", "'1.0\\+' is not a number"),
        ("+ash_s@90", "is not a method"),
        ("ash_s@80,90", "ASH-S takes one percentile; write for example ash_s@90"),
        ("vra@0.5", "VRA takes two thresholds; write for example vra@0.5,1.0"),
        ("vra@1,0.5", "the first number must be the smaller"),
        ("vra@0,0", "the threshold must be a positive number"),
        ("vra@-1,1", "the threshold must be a positive number"),
        ("vra@60%,1", "'60%' is not a number"),
        ("vra@0.6%,0.95%", "write vra@95% to mean the 95th percentile"),
        ("ras@5", "RAS takes no parameter; write for example ras"),
        ("ras@", "'' is not a number"),
        ("lts", "needs its percentile; write for example lts@95"),
    ],
)
def test_a_wrong_text_gets_one_sentence(text: str, sentence: str) -> None:
    with pytest.raises(MethodError, match=sentence):
        ash.Method.parse(text)


def test_ranges_are_inclusive_and_keep_the_score() -> None:
    assert [str(m) for m in parse_methods("energy, ash_s@5:95:45, ash_b@65:70:5:msp, energy")] == [
        "energy",
        *("ash_s@5", "ash_s@50", "ash_s@95"),
        *("ash_b@65:msp", "ash_b@70:msp"),
    ]
    assert len(parse_methods("ash_p@5:95:5")) == 19
    assert len(parse_methods("react@0.1:0.3:0.1")) == 3
    assert [str(m) for m in parse_methods("react@80:90:5%, react@1.0 + ash_s@50:90:40:msp")] == [
        *("react@80%", "react@85%", "react@90%", "react@1.0+ash_s@50:msp", "react@1.0+ash_s@90:msp")
    ]
    assert len(parse_methods("react@0.5:1.5:0.5+dice@10:90:10:odin")) == 27
    assert [str(m) for m in parse_methods("knn@50:150:50, ash_s@80:90:10:gen@0.1:0.2:0.1")] == [
        *("knn", "knn@100", "knn@150"),
        *("ash_s@80:gen", "ash_s@80:gen@0.2", "ash_s@90:gen", "ash_s@90:gen@0.2"),
    ]


def test_two_numbers_of_a_step_stand_in_a_list_beside_ranges() -> None:
    text = "energy,vra@0.5,1.0:msp, vra@60%, 95% ,ash_s@5:95:45,ras,lts@90+dice@10"
    assert [str(one) for one in parse_methods(text)] == [
        *("energy", "vra@0.5,1.0:msp", "vra@60%,95%", "ash_s@5", "ash_s@50", "ash_s@95", "ras", "lts@90+dice@10")
    ]
    some = parse_methods("vra@0.5:0.6:0.1,1:2:0.5+scale@80:90:5:odin")
    assert len(some) == 2 * 3 * 3
    assert str(some[0]) == "vra@0.5,1.0+scale@80:odin"
    assert [one.label for one in parse_methods("vra@0.5,1,vra@60%,95%,ras,bfact@95%")] == [
        *("VRA @ 0.5, 1", "VRA @ 60 %, 95 %", "RAS", "BFAct @ 95 %")
    ]


@pytest.mark.parametrize("text", ["ash_s@95:5:5", "ash_s@5:95", "ash_s@5:95:0", "ash_s@5:nan:1", "", ", ,", "energy,5"])
def test_wrong_ranges_are_refused(text: str) -> None:
    with pytest.raises(MethodError):
        parse_methods(text)


def test_a_method_shapes_as_its_function_does() -> None:
    x = torch.rand(4, 20)
    assert torch.equal(ash.Method.parse("ash_s@50").shape(x), ash.ash_s(x, 50))
    assert torch.equal(ash.Method.parse("react@0.5").shape(x), ash.react(x, 0.5))
    assert torch.equal(ash.Method.parse("energy").shape(x), x)
    assert torch.equal(ash.Method.parse("ash_rand@50").shape(x[2:], first_index=2), ash.ash_rand(x, 50)[2:])


def test_labels_read_well() -> None:
    labels = [ash.Method.parse(text).label for text in ("energy", "msp", "ash_s@90", "react@1.0:msp")]
    assert labels == ["Energy", "Max softmax", "ASH-S @ 90", "ReAct @ 1, Max softmax"]
    assert ash.Method.parse("ash_s@90:knn@200").label == "ASH-S @ 90, KNN @ 200"
    more = ("odin", "react@90%", "react@1.0+dice@10", "ash_b_global@65:odin", "mahalanobis")
    assert [ash.Method.parse(text).label for text in more] == [
        *("ODIN", "ReAct @ 90 %", "ReAct @ 1 + DICE @ 10", "ASH-B global @ 65, ODIN", "Mahalanobis")
    ]


def test_what_a_method_prunes_and_needs() -> None:
    facts = {text: ash.Method.parse(text) for text in ("energy", "react@90%", "dice@70", "ash_b_global@65", "ash_s@90")}
    assert [one.percentile for one in facts.values()] == [None, None, None, None, 90]
    assert [one.pruned for one in facts.values()] == [None, None, None, 65, 90]
    assert [one.needs_fit for one in facts.values()] == [False, True, True, False, False]
    both = ash.Method.parse("react@1.0+ash_s@90")
    assert (both.variant, both.parameter, both.percentile, both.pruned) == ("react+ash_s", None, None, 90)
    assert ash.Method.parse("mahalanobis").needs_fit


def test_the_literatures_methods_come_with_a_models_settings() -> None:
    texts = [str(method) for method in baselines(ash.get_model("resnet50"))]
    assert texts == [
        *("msp", "max_logit", "odin", "mahalanobis", "energy", "react@1.0", "dice@70"),
        *("react@1.0+dice@10", "react@1.0+ash_s@90"),
    ]
    assert "react@1.0+ash_s@95" in map(str, baselines(ash.get_model("densenet101_cifar10")))


def test_only_whole_methods_can_be_made() -> None:
    for arguments in (("ash_x", 5.0), ("ash_s", None), ("none", 3.0), ("ash_s", 90.0, "mps"), ("ash_s", 120.0)):
        with pytest.raises(MethodError):
            ash.Method(*arguments)


@pytest.mark.parametrize("text", ["ash_s@5:95:1e-9", "react@1:1e300:1e-300", "+".join(["react@1:50:1"] * 5)])
def test_ranges_without_end_are_refused_at_once(text: str) -> None:
    with pytest.raises(MethodError, match="more than 100,000 methods"):
        parse_methods(text)
