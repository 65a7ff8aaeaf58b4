"""A method's text: parse and print are inverse, a typo is answered with the nearest valid form."""

import contextlib

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import ash
from ash.methods import SCORE_LABELS, VARIANTS, MethodError, parse_methods

METHODS = st.builds(
    lambda variant, p, c, score: ash.Method(
        variant, {"percentile": p, "threshold": c, None: None}[VARIANTS[variant].parameter], score
    ),
    st.sampled_from(list(VARIANTS)),
    st.one_of(st.just(0.0), st.integers(1, 99).map(float), st.floats(1, 99.99).map(lambda p: round(p, 4))),
    st.floats(1e-6, 1e6),
    st.sampled_from(list(SCORE_LABELS)),
)


@given(METHODS)
def test_parse_and_print_are_inverse(method: ash.Method) -> None:
    assert ash.Method.parse(str(method)) == method


@given(st.text(max_size=30))
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


@pytest.mark.parametrize("text", ["ash_s@95:5:5", "ash_s@5:95", "ash_s@5:95:0", "ash_s@5:nan:1", "", ", ,"])
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


def test_only_whole_methods_can_be_made() -> None:
    for arguments in (("ash_x", 5.0), ("ash_s", None), ("none", 3.0), ("ash_s", 90.0, "mps"), ("ash_s", 120.0)):
        with pytest.raises(MethodError):
            ash.Method(*arguments)
