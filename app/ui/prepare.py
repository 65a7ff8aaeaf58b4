"""What a page needs before it can draw: a network and images, or how they get here; banks that exist, or a button that
computes them, with progress and cancel."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import streamlit as st

from app.backend import banks, library, registry, requirements, setups, shipping
from app.errors import plain
from app.link import state
from app.link.picks import Pick
from app.link.spec import RunSpec
from app.link.state import bind, dispatch
from app.theme import count, counted, listed, size
from app.ui import work
from app.ui.work import duration

_JOB = work.Task("prepare_job")  # what the banks that this session is computing were asked for
_METHOD = work.Task("method_job")  # what a method that it is measuring was asked for, and the method
NOT_HERE = (
    "On this server, computing them from the browser is off: whoever starts it turns it on with ASH\\_COMPUTE=on, or "
    "computes them with a command; the Library shows it."
)
FEW_COMMANDS = 2  # more of them would push results that ship, which are drawn below them, out of sight
AMOUNTS = (0, 100, 200, 500, 1000, 2000, 5000, 10000)  # images a set; 0 is the usual number


def nothing_here(spec: RunSpec, title: str) -> None:
    """The page's title, what is missing for this spec, the command that brings it, and the way to the Library."""
    st.title(title)
    what_is_missing(spec, "nothing can be measured here yet")
    _what_ships(spec)
    own, *others = setups.id_choices(spec.model)
    if others and setups.setup(spec).id_set == own and not setups.is_present(own):
        st.markdown("Or measure on labelled images of your own:")
        for name in others:
            pick = (Pick.field("id", name),)
            st.button(f"Use {name} as ID set", key=f"use_{name}", on_click=dispatch, args=pick)
    state.page_link("library", "Open the Library")


def what_is_missing(spec: RunSpec, so: str) -> None:
    """What is missing for this spec, what follows from that, and what to do about it."""
    reason = requirements.unready(spec)
    st.info(plain(f"{reason[0].upper()}{reason[1:]}, so {so}."), icon=":material/download:")
    for sentence in requirements.unfetchable(spec):
        st.markdown(plain(sentence))
    if names := requirements.needed(spec):
        commands = "\n".join(f"python -m ash fetch {name}" for name in names)
        seen = len(names) <= FEW_COMMANDS or shipping.shipped(spec.model) is None
        with st.container() if seen else st.expander(f"How to get it: {len(names)} sets of files"):
            st.markdown("Get it on the **Library** page, or where the server runs:")
            st.code(commands, language="bash")


def _what_ships(spec: RunSpec) -> None:
    """Where the activations of the ID set ship and its images do not: the way back to what ships."""
    at = setups.setup(spec)
    if not setups.is_listed(at.id_set) or setups.is_as_ships(at):
        return
    st.markdown("Or look at what ships:")
    st.button("All images, at the penultimate layer", key="what_ships", on_click=_to_what_ships, type="primary")


def _to_what_ships() -> None:
    """Callback: the placement, the number of images and the number format of what ships."""
    for name in ("placement", "images", "dtype"):
        dispatch(Pick.field(name, RunSpec().value(name)))


def left_out(spec: RunSpec) -> None:
    """A line on the OOD sets that this view leaves out as their images do not ship; nothing where there are none."""
    if not (gone := setups.left_out(spec)):
        return
    labels = listed([plain(label) for label in gone.values()])
    of = "it" if len(gone) == 1 else "them"
    ships = f"Of {of} only the activations of all images at the penultimate layer ship, no images."
    if setups.is_as_ships(setups.setup(spec)):
        ships = f"No images of {of} ship, and the activations that do are of other weights than those in use."
    st.caption(
        f":material/hide_image: Left out here: {labels}. {ships} Get the images: "
        f"`python -m ash fetch {' '.join(gone)}`, or Fetch in the Library."
    )


def ready(spec: RunSpec, checkpoints: Sequence[setups.Setup] = ()) -> bool:
    """Whether all banks of the spec's setup exist, or of those of its network's `checkpoints`.

    Where they do not: what they cost, a button, then progress.
    """
    every = checkpoints or (setups.setup(spec),)
    missing = {at: sets for at in every if (sets := banks.missing_sets(at))}
    if not missing:
        return not spec.other or _other_ready(spec, [replace(spec, checkpoint=at.checkpoint) for at in every])
    if _JOB.what != setups.asked(spec):
        _offer(spec, missing)
    else:
        _compute(spec, missing)
    return False


def _other_ready(spec: RunSpec, each: Sequence[RunSpec]) -> bool:
    """Whether the method in use has what it needs besides banks, with each checkpoint; where not: what, and the way."""
    found = {one: requirements.lack(one, spec.other) for one in each}
    lacks = {one: lack for one, lack in found.items() if lack is not None and not lack.by_passes}
    if not lacks:
        return True
    lack = next((one for one in lacks.values() if not one.click), next(iter(lacks.values())))
    over = f", with {counted(len(lacks), 'checkpoint')}" if len(each) > 1 else ""
    st.info(plain(f"{spec.method.label} cannot be shown yet: {lack.text}{over}."), icon=":material/hourglass_empty:")
    if lack.commands:
        st.code("\n".join(lack.commands), language="bash")
    if lack.click and library.may_compute():
        _measure(spec, [*lacks])
    elif lack.click:
        st.caption(f":material/lock: {NOT_HERE}")
    state.page_link("paper", "All methods: Paper")
    return False


def _measure(spec: RunSpec, lacking: Sequence[RunSpec]) -> None:
    """A button for what the method in use lacks, and the work in this script run once it is asked for."""
    asked = setups.asked(spec), spec.other
    busy = _METHOD.what == asked
    if todo := sum(requirements.images_of(one, spec.other) for one in lacking):
        st.caption(f"Measuring it sends {count(todo)} images through the network once; what is done is kept.")
    place = st.empty()
    start = ("Measure it", "play_arrow", lambda: _METHOD.start(asked))
    stop = ("Cancel", "stop", _METHOD.stop)
    work.button("prepare_method", busy, start, stop, type="secondary" if busy else "primary")
    if busy:
        bar = place.progress(0.0, f"Measuring {plain(spec.method.label)}")
        _METHOD.take(requirements.measure_steps(lacking, spec.other), work.shower(bar))
        st.rerun()


def _offer(spec: RunSpec, missing: Mapping[setups.Setup, dict[str, int]]) -> None:
    name = registry.placement_label(spec.model, spec.placement)
    sets = counted(len({one for sets in missing.values() for one in sets}), "data set")
    sets += f" with {len(missing)} checkpoints" if len(missing) > 1 else ""
    images = sum(sum(sets.values()) for sets in missing.values())
    if not library.may_compute():
        st.info(
            f"The activations of this placement ({plain(name)}) are not computed yet: {sets}, {count(images)} images. "
            + NOT_HERE,
            icon=":material/lock:",
        )
        state.page_link("library", "All activations: Library")
        return
    with st.spinner("Measuring what it costs on this device"):
        cost = banks.cost(setups.setup(spec), images)
    st.info(
        f"The activations of this placement ({plain(name)}) are not computed yet: {sets}, {count(images)} images, "
        f"{size(cost.bytes)}, about {duration(cost.seconds)} at {cost.rate:,.0f} images a second, "
        f"measured on {plain(cost.device)}. "
        "They are computed once and kept on this machine; you can stop at any time and go on later.",
        icon=":material/hourglass_empty:",
    )
    with st.container(horizontal=True, vertical_alignment="bottom"):
        _button(busy=False)
        with st.popover("Fewer images, smaller banks", icon=":material/tune:"):
            amount(spec)
        state.page_link("library", "All activations: Library")


def amount(spec: RunSpec) -> None:
    """Images a set and number format of the banks."""
    labels = {value: f"At most {count(value)} a set" for value in sorted({*AMOUNTS, spec.images})}
    labels[0] = f"Usual: all, or {count(setups.SUBSET_ID)} ID and {count(setups.SUBSET_OOD)} of each OOD set"
    st.selectbox("Images", list(labels), format_func=lambda value: labels.get(value, str(value)), **bind("images"))
    formats = {"float32": "float32", "float16": "float16: half the size"}
    st.selectbox("Number format", list(formats), format_func=lambda name: formats[name], **bind("dtype"))


def _button(busy: bool) -> None:
    start = ("Compute", "play_arrow", lambda: _JOB.start(setups.asked(state.current())))
    work.button("prepare_button", busy, start, ("Cancel", "stop", _JOB.stop), type="secondary" if busy else "primary")


def _compute(spec: RunSpec, missing: Iterable[setups.Setup]) -> None:
    """Run the extraction in this script run; a click anywhere interrupts it, the next run goes on where it stopped."""
    name = registry.placement_label(spec.model, spec.placement)
    bar = st.progress(0.0, f"Computing the activations at {plain(name)}")
    _button(busy=True)
    _JOB.take(banks.compute_banks(*missing), work.shower(bar))
    st.rerun()
