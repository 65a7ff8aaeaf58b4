"""The search for the nearest: all of them and no other, with a first look in bfloat16 or without."""

import pytest
import torch
from test_sweep import linear
from torch import Tensor
from training import ArrayBank, relu_like

from ash.fitting import fit
from ash.methods import parse_methods
from ash.scores import nearest
from ash.scores.registry import unit
from ash.sweeping import sweep


@pytest.mark.parametrize("k", [1, 5, 40])
@pytest.mark.parametrize("n", [40, 1000, 4096, 33_000])
def test_the_nearest_are_the_nearest(n: int, k: int) -> None:
    """In blocks and groups as among all at once, with many equal products too."""
    generator = torch.Generator().manual_seed(n)
    for values in (torch.randn(n, 6, generator=generator), torch.randint(0, 2, (n, 6), generator=generator).float()):
        queries, plus = torch.randn(9, 6, generator=generator), torch.randn(n, generator=generator).round()
        for more in (None, plus):
            products = queries @ values.T + (0 if more is None else more)
            found, rows = nearest.Neighbours(values, more).nearest(queries, k)
            torch.testing.assert_close(found, products.topk(k, 1).values)
            torch.testing.assert_close(found, products.gather(1, rows))
            assert all(len(set(row)) == k for row in rows.tolist())


def alike(count: int, seed: int, spread: float) -> Tensor:
    """Directions (count, 512) of ten clusters, as a trained network makes them."""
    middles = torch.randn(10, 512, generator=torch.Generator().manual_seed(0))
    generator = torch.Generator().manual_seed(seed)
    near = middles[torch.randint(0, 10, (count,), generator=generator)]
    return unit((near + spread * torch.randn(count, 512, generator=generator)).relu())


@pytest.mark.parametrize("k", [1, 5, 12])
@pytest.mark.parametrize("data", ["spread", "clusters", "almost one direction", "many equal"])
def test_a_first_look_in_bfloat16_loses_no_neighbour(data: str, k: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """It gives what all products in float32 give, on every processor; and it is used where samples differ."""
    monkeypatch.setattr(nearest, "multiplies_bfloat16", lambda: True)
    spread = {"spread": 3.0, "clusters": 1.0, "almost one direction": 0.0005, "many equal": 1.0}[data]
    samples, queries = alike(5000, 1, spread), alike(130, 2, spread)
    if data == "many equal":
        samples[1000:] = samples[:1000].repeat(4, 1)
    queries[3], queries[4], queries[5:9] = float("nan"), 0, samples[:4]
    bank = nearest.Neighbours(samples)
    with torch.autocast("cpu", torch.bfloat16):
        found, rows = bank.nearest(queries, k)
    products = queries @ samples.T
    torch.testing.assert_close(found, products.topk(k, 1).values, rtol=0, atol=2e-6, equal_nan=True)
    torch.testing.assert_close(found, products.gather(1, rows), rtol=0, atol=2e-6, equal_nan=True)
    assert all(len(set(row)) == k for row in rows.tolist())
    sure = bank._looked(queries, k)[2]
    assert not sure[3]
    assert (k in bank.unpaid) == (data == "almost one direction") == (sure.float().mean() <= 0.9)


@pytest.mark.parametrize("scale", [1e-10, 1e-20, 1e-30, 1e-36, 1e10])
def test_what_float32_cannot_square_is_looked_through(scale: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Squares and products that vanish make a first look sure of nothing, not of everything."""
    monkeypatch.setattr(nearest, "multiplies_bfloat16", lambda: True)
    samples, queries = alike(4000, 1, 1.0), alike(70, 2, 1.0)
    for some, asked in ((samples * scale, queries), (samples, queries * scale)):
        products = asked.double() @ some.double().T
        rows = nearest.Neighbours(some).nearest(asked, 5)[1]
        torch.testing.assert_close(
            products.gather(1, rows) / scale, products.topk(5, 1).values / scale, rtol=2e-6, atol=2e-6
        )


@pytest.mark.parametrize("zeros", [0, 2])
def test_all_k_of_a_sweep_share_what_they_look_among(zeros: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A copy of a large training set for each K would not fit the memory."""
    made = []

    class Counted(nearest.Neighbours):
        def __init__(self, *given: Tensor | None) -> None:
            made.append(given)
            super().__init__(*given)  # type: ignore[arg-type]

    monkeypatch.setattr(nearest, "Neighbours", Counted)
    train = relu_like(60, (8,))
    train[:zeros] = 0
    one = fit(ArrayBank(train))  # type: ignore[arg-type]
    sweep(linear(8, 3), relu_like(20, (8,), 1), {}, parse_methods("knn@1,knn@5,ash_s@50:knn@9"), fit=one)
    assert len(made) == 1


def test_a_k_for_which_a_first_look_does_not_pay_leaves_it_to_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nearest, "multiplies_bfloat16", lambda: True)
    looked, look = [], nearest.Neighbours._looked

    def noted(self: nearest.Neighbours, queries: Tensor, k: int) -> tuple[Tensor, Tensor, Tensor]:
        looked.append(k)
        values, rows, sure = look(self, queries, k)
        return values, rows, sure & (k == 1)

    monkeypatch.setattr(nearest.Neighbours, "_looked", noted)
    bank, queries = nearest.Neighbours(alike(4000, 1, 1.0)), alike(70, 2, 1.0)
    for k in (1, 2, 1, 2):
        torch.testing.assert_close(bank.nearest(queries, k)[0], (queries @ bank.samples.T).topk(k, 1).values)
    assert looked == [1, 2, 1]


def test_a_bank_that_does_not_suit_a_first_look_is_looked_through(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few queries or features, another dtype, something added, a graph that is exported: all products, as ever."""
    monkeypatch.setattr(nearest, "multiplies_bfloat16", lambda: True)
    monkeypatch.setattr(nearest.Neighbours, "_looked", lambda *asked: pytest.fail("no first look was to be taken"))
    samples, queries = alike(4000, 1, 1.0), alike(70, 2, 1.0)
    for bank, asked, k in (
        (nearest.Neighbours(samples), queries[:5], 1),
        (nearest.Neighbours(samples), queries, 40),
        (nearest.Neighbours(samples[:, :40]), queries[:, :40], 1),
        (nearest.Neighbours(samples.double()), queries.double(), 1),
        (nearest.Neighbours(samples, torch.zeros(4000)), queries, 1),
    ):
        torch.testing.assert_close(bank.nearest(asked, k)[0], (asked @ bank.samples.T).topk(k, 1).values)
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    nearest.Neighbours(samples).nearest(queries, 1)
