"""The sidebar: pages, and everything that is the same on every page."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import streamlit as st

from app.backend import engine, library, provenance, registry, requirements, setups
from app.charts.sample_table import NO_CLASS, NOT_ID
from app.errors import plain
from app.link import picks
from app.link.fields import write_number
from app.link.picks import Pick
from app.link.spec import LEAST_C, MOST_C, RunSpec, to_query
from app.link.state import bind, current, dispatch, tie
from app.link.streamlit_private import Page
from app.theme import listed, variant_label
from app.ui import controls, job_panel, share, texts
from ash.methods import ALL_SCORES, SCORE_LABELS, VARIANTS, Method, Variant

_OTHER = "other"  # in the place of a variant: a method that the controls cannot say


def known(spec: RunSpec) -> Mapping[str, Collection[str]]:
    """Field -> the names the server has, the default first."""
    models = registry.model_names(spec.model if library.may_be_built(spec.model) else "")
    if spec.model not in models:
        return {"model": models}
    own, *others = setups.id_choices(spec.model)
    named = ("", *setups.checkpoints(spec.model))  # "" first: all of several
    spec = replace(spec, checkpoint=spec.checkpoint if spec.checkpoint in named else "")
    ids = {own: "", "": "", **{name: name for name in others}}
    spec = replace(spec, id=ids.get(spec.id, ""))  # a set that is not here, or not any more, cannot be asked for others
    every = setups.ood_choices(spec.model, spec.id or own)
    at = setups.setup(spec)
    chosen = [name for name in every if name in spec.ood] or list(at.ood)
    return {
        "model": models,
        "checkpoint": named,
        "placement": registry.placement_names(spec.model, spec.placement),
        "id": ids,
        "ood": tuple(every),
        "on": ("mean", *setups.near_and_far(at.id_set, chosen), *chosen),
        "set": ("all", *chosen),
        "source": ("id", *(name for name in every if setups.is_measurable(at, name))),
        "among": ("all", "id", NOT_ID, *chosen),
        "question": ("first", *texts.questions()),
        "lesson": ("none", *texts.lessons()),
        **_classes(spec),
    }


def _classes(spec: RunSpec) -> Mapping[str, Collection[str]]:
    """The classes that a link may name, where it names any: reading those of ImageNet takes a moment."""
    if not spec.samples.true and not spec.samples.predicted:
        return {}
    names = ("", *registry.entry(spec.model).classes)
    return {"true": (*names, NO_CLASS), "predicted": names}


def draw(spec: RunSpec, sections: Mapping[str, Sequence[Page]], only: Collection[str] | None = None) -> None:
    """The whole sidebar for this spec, or `only` some controls of it: those that a lesson needs."""
    drawn: dict[str, Callable[[RunSpec], None]] = {
        "preset": _preset,
        "model": _model,
        "placement": _placement,
        "variant": _variant,
        "p": _parameter,
        "sets": partial(_score_and_sets, with_score=only is None),
    }
    with st.sidebar, st.container(gap="xsmall"):  # Reset and Share are in sight on a screen of 900 pixels
        _pages(spec, sections)
        for name, control in drawn.items():
            if only is None or name in only:
                control(spec)
        with st.container(horizontal=True):
            st.button("Reset", icon=":material/restart_alt:", width="stretch", on_click=dispatch, args=(Pick.reset(),))
            share.menu(spec)
        st.caption(f":material/database: {plain(provenance.badge(spec))}")
        job_panel.badge()


def _placement(spec: RunSpec) -> None:
    _select("Placement", "placement", _placements(spec), "The point of the network whose activation is shaped.")
    if engine.is_signed(setups.setup(spec)):
        st.caption(VARIANTS[spec.variant].signed or VARIANTS["ash_b"].signed)


def _variant(spec: RunSpec) -> None:
    labels = {name: variant_label(name) for name in VARIANTS}
    says = not spec.other or (spec.method.scoring.score.follows and picks.controls_say_all_but_the_score(spec))
    if not says:
        labels = {_OTHER: spec.method.label, **labels}
    st.selectbox(
        "Variant",
        list(labels),
        format_func=lambda option: labels.get(option, option),
        help="What is done to the activation.",
        **bind(
            "variant",
            to_widget=lambda name: name if says else _OTHER,
            from_widget=lambda name: spec.variant if name == _OTHER else name,
        ),
    )


def _model(spec: RunSpec) -> None:
    """The model; a setting that is a preset of the old one becomes the new one's preset of the same variant."""
    names = {spec.model: spec.model, **registry.models()}

    def change(model: str) -> None:
        was_preset = str(spec.method) in registry.presets(spec.model).values()
        dispatch(Pick.field("model", model))
        presets = map(Method.parse, registry.presets(current().model).values())
        same = [str(one) for one in presets if (one.variant, one.score) == (spec.variant, spec.score)]
        if was_preset and same:
            dispatch(Pick.method(same[0]))

    options = tie("spec_model", spec.model, change, "model")
    st.selectbox("Model", list(names), format_func=lambda name: names.get(name, name), **options)
    _checkpoint(spec)


def _checkpoint(spec: RunSpec) -> None:
    """Which checkpoint of a network that has several, or all of them; of a single one, that it has no deviation."""
    names = setups.checkpoints(spec.model)
    if names:
        every = {"": f"All {len(names)}: mean ± deviation", **{name: name for name in names}}
        _select("Checkpoint", "checkpoint", every, "Trainings of the same network with other seeds.")
        if not spec.checkpoint:
            over = f"At linear placements Trade-off is over {len(names)} checkpoints"
            st.caption(plain(f"{over}; all else shows {names[0]}."))
    elif registry.entry(spec.model).checkpoints:
        st.caption("One checkpoint: there is no deviation over several.")


def _select(label: str, name: str, options: Mapping[str, str], help: str | None = None) -> None:
    """A select box over name -> label, tied to a field of the spec."""
    st.selectbox(label, list(options), format_func=lambda option: options.get(option, option), help=help, **bind(name))


def _placements(spec: RunSpec) -> Mapping[str, str]:
    """The placements with a name, and the one in use; all others are on the page Placements."""
    named = registry.placements(spec.model)
    return {spec.placement: registry.placement_label(spec.model, spec.placement), **named}


def _pages(spec: RunSpec, sections: Mapping[str, Sequence[Page]]) -> None:
    """Links that carry the spec: Streamlit's own menu drops the query, which leaves a wrong step in the history."""
    query: Any = to_query(spec)
    with st.container(gap="xxsmall", key="pages"):
        for title, pages in sections.items():
            st.caption(title)
            for page in pages:
                st.page_link(page, query_params=query or None, width="stretch")


def _preset(spec: RunSpec) -> None:
    presets = registry.presets(spec.model)
    now = str(spec.method)
    shown = next((label for label, method in presets.items() if method == now), None)

    def load(label: str | None) -> None:
        if label in presets:
            dispatch(Pick.method(presets[label]))

    st.selectbox("Preset", list(presets), index=None, placeholder="Own settings", **tie("preset", shown, load))


def _help(variant: Variant) -> str:
    """What the parameter is, as far as it is known, what the variant reads, and its paper."""
    if variant.function is not None and not variant.says:
        return f"What {variant.label}, a plug-in, makes of it is in its function."
    said = [variant.says or controls.REMOVED]
    if variant.paper and variant.parameter:
        said += [f"It reads the {listed(variant.reads)}.", f"{variant.paper} ({variant.year})."]
    return " ".join(said)


def _parameter(spec: RunSpec) -> None:
    """The percentile or the threshold of the variant, or AdaSCALE's percentile. Disabled where nothing is shaped."""
    if controls.has_own_percentile(spec):
        controls.own_percentile(spec)
        _between(float(spec.method.scoring.value or 0))
        return
    if VARIANTS[spec.variant].parameter == "threshold":
        st.number_input(
            "Threshold c",
            LEAST_C,
            MOST_C,
            step=0.1,
            format="%g",
            help=_help(VARIANTS[spec.variant]),
            **bind("c"),
        )
        _in_use(spec)
        return
    controls.percentile(_help(VARIANTS[spec.variant]), disabled=VARIANTS[spec.variant].parameter is None)
    if VARIANTS[spec.variant].parameter is not None:
        _between(spec.p)
    _in_use(spec)


def _between(p: float) -> None:
    """A percentile in use that the slider, which has whole ones, cannot say."""
    if not p.is_integer():
        st.caption(f"In use: p = {write_number(p)}, from a link. Moving the slider replaces it.")


def _in_use(spec: RunSpec) -> None:
    """What the controls above cannot say."""
    if spec.other and not picks.controls_say_all_but_the_score(spec):
        st.caption(f":material/science: In use: {plain(spec.method.label)}. Moving a control here replaces it.")


def _score(spec: RunSpec, shown: str) -> None:
    """The score: those of logits, and those that read more where what they read is here; why others are not."""
    more = requirements.more_scores(spec)
    st.selectbox(
        "Score",
        list(dict.fromkeys((*SCORE_LABELS, *more.there, shown))),
        format_func=ALL_SCORES.__getitem__,
        help="Turns a sample into one number; higher means more in-distribution.",
        **tie("spec_score", shown, lambda name: dispatch(Pick.score(name)), "score"),
    )
    if more.missing:
        st.caption(plain(more.missing))


def _score_and_sets(spec: RunSpec, with_score: bool = True) -> None:
    id_sets = setups.id_choices(spec.model)
    sets = setups.ood_choices(spec.model, setups.setup(spec).id_set)
    used = len(setups.chosen_sets(spec))
    label = f"{used} of {len(sets)} OOD sets"
    shown = spec.method.scoring.score.name if picks.controls_say_all_but_the_score(spec) else spec.score
    if with_score:
        label = f"{ALL_SCORES[shown]}, {label}"
    with st.popover(label, icon=":material/tune:", width="stretch", key="score_and_sets"):
        if with_score:
            _score(spec, shown)
        if len(id_sets) > 1:
            own = next(iter(id_sets))
            _select("ID set", "id", {"" if name == own else name: label for name, label in id_sets.items()})
        if spec.id:
            reading = setups.reading(spec.model, spec.id)
            st.caption(plain(reading.problem or reading.words))
        st.multiselect(
            "OOD sets",
            list(sets),
            format_func=lambda name: sets.get(name, name),
            placeholder="The usual ones",
            **bind("ood", to_widget=list, from_widget=tuple),
        )
