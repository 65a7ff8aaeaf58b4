"""Predict, then reveal: a question, three answers, and only then the curve measured on the chosen network."""

import streamlit as st

from app.backend import registry
from app.backend.setups import Setup
from app.errors import plain
from app.link import state
from app.link.picks import Pick
from app.link.spec import RunSpec
from app.link.state import dispatch
from app.ui import texts
from app.ui.lessons import charts
from app.ui.lessons.facts import Here
from app.ui.lessons.facts_choice import mean_losses
from app.ui.lessons.outcomes import OUTCOMES, Outcome, earlier
from app.ui.lessons.template import fill
from app.ui.texts import Question

_ANSWERS = "predictions"  # (setup, question id) -> (the answer that was chosen, whether it is right)
_STYLE = """<style>
.st-key-predict {max-width: 60rem}
.st-key-predict_question p {font-size: 1.3rem; line-height: 1.45}
.st-key-predict_answers button {justify-content: flex-start; text-align: left}
</style>"""


def draw(spec: RunSpec) -> None:
    """Draw this part of the Shape lab for this spec."""
    st.html(_STYLE)
    every = texts.questions()
    chosen = every.get(spec.lab.question) or next(iter(every.values()))
    with st.container(key="predict"):
        _heading(spec, chosen)
        if charts.ready(spec):
            _question(Here(spec), chosen)
        _turn(chosen)


def _heading(spec: RunSpec, chosen: Question) -> None:
    order = list(texts.questions())
    st.subheader(chosen.title)
    st.caption(
        plain(
            f"Question {order.index(chosen.id) + 1} of {len(order)}, measured on {registry.entry(spec.model).label}"
            f"{' at the penultimate layer' if chosen.id in OUTCOMES else ''}, with the energy score"
        )
    )


def _question(here: Here, chosen: Question) -> None:
    with st.spinner("Measuring the answer"):
        found = outcome(here, chosen.id)
    if found is None:
        _lacking(here)
        return
    values = {name: plain(value) for name, value in (here.common() | found.values).items()}
    facts = here.facts() | found.facts
    with st.container(key="predict_question"):
        st.markdown(fill(chosen.question, values, facts))
    answers = {name: fill(text, values, facts) for name, text in chosen.answers.items()}
    given = _given().get((here.at, here.sets, chosen.id))
    if given is None:
        _ask(here, chosen, answers, found.right)
    else:
        _reveal(answers, given, found, fill(chosen.why, values, facts))
        st.caption(
            f"Measured on {values['id_images']} ID and {values['ood_images']} OOD images; the answer is computed from "
            "these curves. On another network it may be another one: choose one in the sidebar and predict again."
        )
    _progress(here)


def outcome(here: Here, question: str) -> Outcome | None:
    """What is measured; None where it takes a placement that is not computed."""
    if question in OUTCOMES:
        return OUTCOMES[question](here)
    shown = charts.earlier(here)
    return earlier(here, shown) if len(mean_losses(shown)) > 1 else None


def _lacking(here: Here) -> None:
    missing = [place.label for place in charts.earlier(here).places if not place.known]
    st.info(
        plain(
            "The answer is measured on two placements at least, and on this network only the penultimate layer is "
            f"computed. Missing: {', '.join(missing) or 'any other placement'}. The page Placements says what one "
            "costs and computes it; then come back."
        ),
        icon=":material/hourglass_empty:",
    )
    state.page_link("placements", "Compute one: Placements")


def _ask(here: Here, chosen: Question, answers: dict[str, str], right: str) -> None:
    st.markdown("**What do you predict?** The curve comes after your answer.")
    with st.container(key="predict_answers", gap="small"):
        for name, text in answers.items():
            key = (here.at, here.sets, chosen.id)
            st.button(text, key=f"answer_{name}", width="stretch", on_click=_answer, args=(key, name, right))


Key = tuple[Setup, tuple[str, ...], str]  # what is measured, on which OOD sets, the question


def _given() -> dict[Key, tuple[str, bool]]:
    found: dict[Key, tuple[str, bool]] = st.session_state.setdefault(_ANSWERS, {})
    return found


def _answer(key: Key, name: str, right: str) -> None:
    _given()[key] = name, name == right


def _reveal(answers: dict[str, str], given: tuple[str, bool], found: Outcome, why: str) -> None:
    name, right = given
    if right:
        st.success(f"**Your prediction agrees with what is measured here.** {answers[name]}.", icon=":material/check:")
    else:
        st.info(
            f"**Measured here: {answers[found.right]}.** You predicted: {answers[name]}.", icon=":material/lightbulb:"
        )
    charts.picture(found.picture, "prediction")
    st.markdown(f"**Why.** {why}")


def _progress(here: Here) -> None:
    """How many predictions about this network were right so far."""
    order = texts.questions()
    mine = [
        right for (at, sets, one), (_, right) in _given().items() if (at, sets) == (here.at, here.sets) and one in order
    ]
    with st.container(horizontal=True, vertical_alignment="center"):
        st.markdown(f"**{sum(mine)} of {len(order)} right**, {len(mine)} answered", width="content")
        if mine:
            st.button("Start again", icon=":material/restart_alt:", key="predict_again", on_click=_given().clear)


def _turn(chosen: Question) -> None:
    order = list(texts.questions())
    place = order.index(chosen.id)
    with st.container(horizontal=True):
        for label, icon, other in (
            ("Previous question", "arrow_back", place - 1),
            ("Next question", "arrow_forward", place + 1),
        ):
            if 0 <= other < len(order):
                pick = Pick.field("question", order[other])
                st.button(label, icon=f":material/{icon}:", key=f"question_{icon}", on_click=dispatch, args=(pick,))
