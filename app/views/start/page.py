"""Start: what this is about in one sentence and six pictures, then one picture on its way through all of it."""

import streamlit as st

from app.backend import evaluations, setups
from app.errors import plain
from app.link import state
from app.link.spec import RunSpec
from app.theme import points
from app.ui import pictures, prepare, strip, texts
from app.ui.lessons import charts
from app.ui.lessons.facts import Here
from app.views.start import way

PICTURE = 120  # pixels of the one that is followed
_STYLE = """<style>
.st-key-start {max-width: 62rem}
.st-key-start .tile :is(img, div) {height: 6.5rem}
.st-key-way {display: grid; grid-template-columns: repeat(auto-fit, minmax(250px, 1fr)); align-items: stretch;
  gap: 0.75rem}
.st-key-way > div {width: auto}
</style>"""


def render(spec: RunSpec) -> None:
    """Draw the page for this spec."""
    st.html(_STYLE)
    with st.container(key="start"):
        st.title("Start")
        st.markdown(
            "A classifier names one of its classes for whatever it is shown. *Out-of-distribution (OOD) detection* "
            "asks for a score that is low where a picture is of no kind it was taught, and *activation shaping* (ASH) "
            "makes that score better by changing one layer's values, without any training."
        )
        if not (charts.ready(spec) and prepare.ready(spec)):
            return
        strip.draw(spec)
        here = Here(spec)
        followed = way.followed(here)
        st.subheader("One picture on its way")
        _way(spec, here, followed)
        state.page_link("tradeoff", "Back to Trade-off: every setting at once")


def _way(spec: RunSpec, here: Here, one: way.Followed) -> None:
    numbers = {name: place for place, name in enumerate(texts.lessons(), start=1)}
    with st.container(key="way"):
        steps = way.steps(one, _gain(here, one))
        if setups.is_features(spec.model):
            steps = [step for step in steps if step.page != "samples"]  # no image can be sent through it
        for place, step in enumerate(steps, start=1):
            with st.container(border=True, height="stretch", gap="xsmall", key=f"way_{place}"):
                st.markdown(f"**{place}. {step.title}**")
                if place == 1:
                    pictures.show(one.picture, (one.label, one.name), PICTURE)
                st.markdown(plain(step.words))
                if step.lesson:
                    state.page_link("lessons", f"Lesson {numbers[step.lesson]}", spec.having(lesson=step.lesson))
                if step.page:
                    state.page_link(step.page, step.label, spec.having(**step.fields))
    pictures.how_to_get([one.data])


def _gain(here: Here, one: way.Followed) -> str:
    """What the method does to all images, in a sentence."""
    rows = evaluations.measure(here.at, str(one.method))
    mean = rows.loc[rows["ood"] == "mean"].iloc[0]
    auroc, accuracy = (points(mean[name] - base) for name, base in _unshaped(here))
    where = "On all images" if len(here.sets) > 1 else f"Against {setups.set_label(here.sets[0])}"
    return f"{where}: AUROC {auroc}, ID accuracy {accuracy}"


def _unshaped(here: Here) -> tuple[tuple[str, float], tuple[str, float]]:
    return ("auroc", here.base.auroc), ("id_accuracy", here.base.accuracy)
