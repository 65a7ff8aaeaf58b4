"""The paper's tables here: what was measured for which network, now or in the results that ship."""

from dataclasses import replace

import pandas as pd

from app.backend import registry
from app.backend.banks import missing_sets
from app.backend.caches import cache_resource
from app.backend.deep import deep_table
from app.backend.engine import is_linear, run
from app.backend.evaluations import STEP, table
from app.backend.fits import more_keys
from app.backend.requirements import OF_ADASCALE, lack, lack_of_each, unready
from app.backend.setups import Setup, chosen_sets, for_method, images, setup, status
from app.backend.shipping import drawn, results_setup, shipped, shipped_words, usual
from app.link.spec import RunSpec
from ash import paper, reports
from ash.data import dataset_entry
from ash.methods import Method
from ash.reports import Found
from ash.results import Results


def own_spec(network: str) -> RunSpec:
    """A network of the paper on the paper's sets, as far as they are here: of the models that are it, the first that
    can be measured, else the one that the paper's name means."""
    models = (network, *(name for name in registry.models() if registry.entry(name).paper_name == network))
    specs = [RunSpec(model=model) for model in dict.fromkeys(models)]
    return next((spec for spec in specs if not unready(spec)), specs[0])


@cache_resource(max_entries=32)
def _measured(at: Setup, methods: tuple[str, ...], ood: tuple[str, ...], about: tuple[str, ...]) -> pd.DataFrame:
    """The rows of methods over some OOD sets, with device and date. `about`: what else they hang on, for the cache."""
    some, origin = run(at, methods)
    table = reports.measured(some.part(sets=ood), at.model, at.placement, at.id_set)
    return table.assign(device=origin["device"], date=origin["date"])


def _rows(at: Setup, methods: tuple[str, ...], ood: tuple[str, ...]) -> pd.DataFrame:
    """The rows of methods that perturb the same images, or none."""
    at = for_method(at, methods[0], ood)
    return _measured(at, methods, ood, tuple(more_keys(at, methods)))


def found(spec: RunSpec) -> Found:
    """What of the paper's methods is measured under a spec; those that take one pass are measured now."""
    at, ood = setup(spec), tuple(chosen_sets(spec))
    nothing = Found(at.model, at.id_set, network=registry.entry(at.model).paper_name)
    if reason := unready(spec):
        return replace(nothing, reason=reason)
    lacks = lack_of_each(spec, paper.methods())
    ready = tuple(method for method, one in lacks.items() if one is None)
    missing = {method: one.text for method, one in lacks.items() if one}
    if not ready:
        return replace(nothing, missing=missing)
    partial = {name: text for name in at.sets if (text := _part(at, name))}
    if not is_linear(at):
        parts = [_rows(at, (method,), ood) for method in ready]
    else:
        odin = tuple(method for method in ready if Method.parse(method).score == "odin")
        rest = tuple(method for method in ready if method not in odin)
        parts = [_rows(at, some, ood) for some in (rest, odin) if some]
    rows = pd.concat(parts, ignore_index=True)
    return replace(nothing, table=rows, missing=missing, partial=partial, apart=_apart(at))


def _apart(at: Setup) -> tuple[str, ...]:
    """What of a network of the paper is not as in the paper; of any other network nothing is asked."""
    entry = registry.entry(at.model)
    if not entry.paper_name:
        return ()
    weights = () if entry.has_published_weights() else (reports.WEIGHTS,)
    return weights if at.penultimate else (*weights, reports.PLACEMENT)


def _part(at: Setup, name: str) -> str:
    """How many of a set's images are measured, "" for all."""
    count, here = len(images(at, name)), status(name)
    whole = dataset_entry(name).count or here.count or count
    return f"{count:,} of {whole:,} images" if count < whole else ""


def own(spec: RunSpec) -> list[Found]:
    """What is measured on the paper's networks, on the paper's sets as far as they are here; on that of the sidebar, if
    it is one of them and asked for, as the sidebar says."""
    networks = dict.fromkeys(network for table in paper.TABLES.values() for network in table.ood)
    mine = registry.entry(spec.model).paper_name if spec.paper.beside == "sidebar" else ""
    return [_with_results(spec if network == mine else own_spec(network)) for network in networks]


def beside(spec: RunSpec) -> Found | None:
    """What the sidebar's network does, beside the lines of all other networks; None where that is not asked for."""
    return _with_results(spec) if spec.paper.beside == "sidebar" else None


def differs_in(spec: RunSpec) -> str:
    """What of the sidebar's network of the paper is not the paper's, as `reports.compare` says it of Energy's averages;
    "" where nothing is, or nothing is measured."""
    network = registry.entry(spec.model).paper_name
    number = next(number for number, table in paper.TABLES.items() if network in table.ood)
    rows = reports.compare(number, [_with_results(spec)]).query("model == @network and method == 'energy'")
    return str(rows[rows["ood"] == "mean"]["differs_in"].iloc[0])


def _with_results(spec: RunSpec) -> Found:
    """What is measured under a spec, and of the methods that are not, what ships of the same weights and images."""
    one, there, at = found(spec), shipped(spec.model), setup(spec)
    if there is None:
        return one
    rows = _rows_of(there)
    if one.table.empty:
        apart = (reports.WEIGHTS,) if "weights_note" in there.origin else ()
        return replace(one, id_set=there.id_set, table=rows, partial=there.partial, apart=apart)
    if results_setup(there) is None or (at.placement, at.id_set, at.images) != (there.placement, there.id_set, 0):
        return one
    more = rows[~rows["method"].isin(one.table["method"]) & rows["ood"].isin(chosen_sets(spec))]
    return replace(one, table=pd.concat([one.table, more], ignore_index=True)) if len(more) else one


def _rows_of(there: Results) -> pd.DataFrame:
    return there.table.assign(device=there.origin["device"], date=there.origin["date"], shipped=True)


def threshold_duels(spec: RunSpec) -> dict[str, dict[float, bool]]:
    """Network -> percentile -> whether ASH-B with each sample's own threshold has the higher mean AUROC than with one
    for all: the sidebar's network, where it is measured, and those whose results ship."""
    at, tables = setup(spec), {there.model: there.table for there in usual()}
    if not unready(spec) and not missing_sets(at) and is_linear(at):
        methods = tuple(f"{variant}@{p}" for variant in ("ash_b", "ash_b_global") for p in range(STEP, 100, STEP))
        tables[at.model] = _rows(at, methods, tuple(chosen_sets(spec)))
    return {model: _duel(table) for model, table in tables.items()}


def _duel(table: pd.DataFrame) -> dict[float, bool]:
    means = table[table["ood"] == "mean"].set_index("method")["auroc"]
    percentiles = [p for p in range(STEP, 100, STEP) if {f"ash_b@{p}", f"ash_b_global@{p}"} <= set(means.index)]
    return {float(p): bool(means[f"ash_b@{p}"] > means[f"ash_b_global@{p}"]) for p in percentiles}


def figure_table(spec: RunSpec) -> tuple[pd.DataFrame | None, str]:
    """The settings of the trade-off with the Energy score, the methods of the paper's tables, and AdaSCALE; and what to
    say of their source where that is a file of results that ships. None where nothing is measured."""
    at = setup(spec)
    if not unready(spec) and not missing_sets(at):
        some = table(at, "energy") if is_linear(at) else deep_table(at, "energy")
        sets = tuple(chosen_sets(spec))
        later = None if without_adascale(spec) else _rows(at, OF_ADASCALE, sets)
        parts = [part for part in (some, found(spec).table, later) if part is not None and not part.empty]
        return _chosen(pd.concat(parts, ignore_index=True), sets) if parts else None, ""
    if there := shipped(spec.model):
        return drawn(there, "energy", paper.methods()), shipped_words(there)
    return None, ""


def without_adascale(spec: RunSpec) -> str:
    """Why AdaSCALE is not among those settings: what it lacks; "" where it is."""
    one = lack(spec, OF_ADASCALE[0])
    return one.text if one else ""


def _chosen(some: pd.DataFrame, ood: tuple[str, ...]) -> pd.DataFrame:
    return some[some["ood"].isin([*ood, "mean"])].drop_duplicates(["method", "ood"]).reset_index(drop=True)
