"""The sentences of the Trade-off page: true for every sign, and open about what a choice costs."""

import pytest

from app.charts.front import Setting
from app.charts.tradeoff_words import advice, best_of_ash, headline, method_words, place_words, without_data
from ash.methods import Method
from ash.protocol import loss_in_words

BASE = Setting(Method(), 92.0, 94.0, 30.0, 99.0)
OVER = "That is 2.8 points less, more than the budget there: few images decide it."


def moved(auroc: float, accuracy: float, method: str = "ash_b@65") -> Setting:
    return Setting(Method.parse(method), 92.0 + accuracy, 94.0 + auroc, 30.0 - auroc, 99.0)


@pytest.mark.parametrize(
    ("auroc", "accuracy", "sentence"),
    [
        (3.4, -2.1, "ASH-B at p = 65 gains 3.4 AUROC points over Energy but loses 2.1 points of accuracy (here)."),
        (3.4, 0.2, "ASH-B at p = 65 gains 3.4 AUROC points over Energy and gains 0.2 points of accuracy (here)."),
        (-3.4, -2.1, "ASH-B at p = 65 loses 3.4 AUROC points against Energy and loses 2.1 points of accuracy (here)."),
        (-3.4, 2.1, "ASH-B at p = 65 loses 3.4 AUROC points against Energy but gains 2.1 points of accuracy (here)."),
        (0.04, -0.04, "ASH-B at p = 65 has the AUROC of Energy and keeps its accuracy (here)."),
        (0.0, 1.0, "ASH-B at p = 65 has the AUROC of Energy and gains 1.0 points of accuracy (here)."),
    ],
)
def test_the_headline_is_true_for_every_sign(auroc: float, accuracy: float, sentence: str) -> None:
    assert headline(moved(auroc, accuracy), BASE, "here") == sentence


def test_the_headline_of_the_baseline_itself_compares_nothing() -> None:
    text = headline(BASE, BASE, "here")
    assert "94.0 % AUROC" in text
    assert "92.0 % ID accuracy" in text
    assert "gains" not in text.replace("against", "")


def test_methods_in_words() -> None:
    assert method_words(moved(0, 0, "react@1.2")) == "ReAct at c = 1.2"
    assert method_words(moved(0, 0, "ash_s@90:msp")) == "ASH-S at p = 90, Max softmax"
    assert method_words(BASE) == "Energy"


def test_advice_says_what_is_best_within_the_budget() -> None:
    text = advice(moved(3.4, -0.5), BASE, BASE, "auroc", 1.0)
    assert text.startswith(
        "At most 1 point of accuracy below Energy, **ASH-B at p = 65** has the highest AUROC: 97.4 %"
    )
    assert "lowest FPR95" in advice(moved(3.4, -0.5), BASE, BASE, "fpr95", None)
    assert "nothing here beats" in advice(BASE, BASE, BASE, "auroc", 0.0)
    assert "the one loaded" in advice(moved(1, 0), BASE, moved(1, 0), "auroc", None)
    assert "no setting" in advice(None, BASE, BASE, "auroc", 0.0)


def test_where_the_numbers_are_from() -> None:
    sets = {"digits": "Digits", "noise": "Noise"}
    assert place_words("Fashion-MNIST", sets, "mean") == "Fashion-MNIST, mean of 2 OOD sets"
    assert place_words("Fashion-MNIST", sets, "noise") == "Fashion-MNIST against Noise"
    assert place_words("Fashion-MNIST", {"digits": "Digits"}, "mean") == "Fashion-MNIST against Digits"


def test_a_choice_that_breaks_the_budget_on_other_images_says_so() -> None:
    within, over = moved(3.4, -0.5), moved(3.4, -2.8)
    for text in (advice(over, BASE, BASE, "auroc", 0.5, True), best_of_ash(over, BASE, "auroc", True, 0.5)):
        assert "97.4 % (+3.4), accuracy 89.2 % (−2.8)." in text
        assert text.endswith(OVER)
    alone = without_data("Noise", over, moved(2.4, -0.5, "ash_s@90"), BASE, "auroc", 0.5)
    assert alone.endswith(f"its test AUROC is 97.4 %, 1 point better, its accuracy 89.2 % (−2.8). {OVER}")
    for text in (
        advice(within, BASE, BASE, "auroc", 0.5, True),
        best_of_ash(within, BASE, "auroc", True, 0.5),
        best_of_ash(over, BASE, "auroc", True, None),
        without_data("Noise", over, moved(2.4, -0.5, "ash_s@90"), BASE, "auroc", None),
    ):
        assert "budget there" not in text


@pytest.mark.parametrize(("loss", "said"), [(0.04, "0.04"), (0.0012, "0.0012"), (0.02, "0.02"), (1.26, "1.3")])
def test_a_loss_that_rounds_to_the_budget_is_said_in_as_many_digits_as_show_it(loss: float, said: str) -> None:
    text = advice(moved(3.4, -loss), BASE, BASE, "auroc", 0.001, True)
    assert text.endswith(f" That is {said} points less, more than the budget there: few images decide it.")


@pytest.mark.parametrize(("loss", "budget"), [(0.3000001, 0.3), (100.0, 0.0), (1e-9, 0.0), (0.25, 0.2)])
def test_the_digits_that_show_it_are_never_those_of_the_budget(loss: float, budget: float) -> None:
    assert float(loss_in_words(loss, budget).removesuffix(" points")) > budget


def test_unlabelled_images_have_no_accuracy_to_state() -> None:
    nan = float("nan")
    base, one = Setting(Method(), nan, 94.0, 30.0, 99.0), Setting(Method("ash_b", 65.0), nan, 95.0, 29.0, 99.0)
    for text in (advice(one, base, base, "auroc", None), best_of_ash(one, base, "auroc", True, None)):
        assert "95.0 % (+1.0)." in text
        assert "nan" not in text
