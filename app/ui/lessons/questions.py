"""Predict, then reveal: a question, three answers, and only then what is measured on the chosen network.

In a lecturer's room it is counted how many gave which answer: by this server, in memory, without names.
"""

from collections.abc import Mapping

import streamlit as st

from app.backend.setups import Setup
from app.errors import plain
from app.link import state
from app.serving import room
from app.theme import counted
from app.ui import code, texts
from app.ui.lessons import charts, programs
from app.ui.lessons.facts import Here
from app.ui.lessons.facts_choice import losses
from app.ui.lessons.outcomes import OUTCOMES, Outcome, earlier
from app.ui.lessons.template import fill
from app.ui.placement_values import FIGURE
from app.ui.texts import Question

_ANSWERS = "predictions"  # Key -> (the answer that was chosen, whether it is right)
_PASSED = "passed_questions"
_COUNTED = "counted_answers"  # the keys whose answer the room has counted: each once a session
_OFTEN = "3s"  # how often a page in the room looks for new answers
_STYLE = """<style>
[class*="st-key-asked_"] p {font-size: 1.3rem; line-height: 1.45}
[class*="st-key-answers_"] button > div {width: 100%; justify-content: flex-start}
[class*="st-key-answers_"] button p {text-align: left}
</style>"""

Key = tuple[Setup, tuple[str, ...], str, str]  # what is measured, on which OOD sets, the question, what it hangs on


def draw(here: Here, question: Question) -> bool:
    """The question with its answers, or with what was measured once this session has answered; whether it is open."""
    st.html(_STYLE)
    with st.spinner("Measuring the answer"):
        found = outcome(here, question.id)
    if found is None:
        _lacking(here)
        return False
    values, facts = filling(here, found)
    asked = fill(question.question, values, facts)
    key = (here.at, here.sets, question.id, f"{asked} {found.right}")  # another budget is another question
    with st.container(key=f"asked_{question.id}"):
        st.markdown(asked)
    answers = {name: fill(text, values, facts) for name, text in question.answers.items()}
    given = given_answers().get(key)
    if given is None:
        _ask(key, answers, found.right)
    else:
        _reveal(question, answers, given, found, values, facts)
        code.show(f"code_{question.id}", lambda: programs.program(here, question))
    if room.address():
        _room(key, answers)
    return given is None


def outcome(here: Here, question: str) -> Outcome | None:
    """What is measured; None where it takes a placement that is not computed."""
    if question in OUTCOMES:
        return OUTCOMES[question](here)
    shown = charts.earlier(here)
    return earlier(here, shown) if len(losses(shown)[1]) > 1 else None


def filling(here: Here, found: Outcome) -> tuple[dict[str, str], dict[str, bool]]:
    """The values and the facts that fill a question's texts."""
    values = {name: plain(value) for name, value in (here.common() | found.values).items()}
    return values, here.facts() | found.facts


def given_answers() -> dict[Key, tuple[str, bool]]:
    """What this session has answered so far."""
    found: dict[Key, tuple[str, bool]] = st.session_state.setdefault(_ANSWERS, {})
    return found


def _lacking(here: Here) -> None:
    missing = [place.label for place in charts.earlier(here).places if not place.known]
    st.info(
        plain(
            "The answer is measured on two placements at least, and on this network only the penultimate layer is "
            f"computed. Missing: {', '.join(missing) or 'any other placement'}. With ASH-P chosen, the page Placements "
            "says what one costs and computes it; then come back."
        ),
        icon=":material/hourglass_empty:",
    )
    state.page_link("placements", "Compute one: Placements", state.current().having(variant=FIGURE))


def _ask(key: Key, answers: Mapping[str, str], right: str) -> None:
    st.markdown("**What do you predict?** The curve comes after your answer.")
    with st.container(key=f"answers_{key[2]}", gap="small"):
        for name, text in answers.items():
            st.button(text, key=f"answer_{key[2]}_{name}", width="stretch", on_click=_answer, args=(key, name, right))


def _passed() -> set[Key]:
    """Questions, whatever they hang on, behind which this session has read on."""
    found: set[Key] = st.session_state.setdefault(_PASSED, set())
    return found


def _answer(key: Key, name: str, right: str) -> None:
    given_answers()[key] = name, name == right
    _passed().add((*key[:3], ""))
    already: set[Key] = st.session_state.setdefault(_COUNTED, set())
    if room.address() and key not in already:
        already.add(key)
        room.count_answer(key, name)


def _reveal(
    question: Question,
    answers: Mapping[str, str],
    given: tuple[str, bool],
    found: Outcome,
    values: Mapping[str, str],
    facts: Mapping[str, bool],
) -> None:
    name, right = given
    if right:
        st.success(f"**Your prediction agrees with what is measured here.** {answers[name]}.", icon=":material/check:")
    else:
        st.info(
            f"**Measured here: {answers[found.right]}.** You predicted: {answers[name]}.", icon=":material/lightbulb:"
        )
    st.markdown(f"**Judged by, ringed in the picture:** {fill(question.judged, values, facts)}.")
    charts.picture(found.picture, f"prediction_{question.id}")
    st.markdown(f"**Why.** {fill(question.why, values, facts)}")
    st.caption(
        f"Measured on {values['id_images']} ID and {values['ood_images']} OOD images; the answer is computed from "
        "these curves. On another network it may be another one: choose one in the sidebar and predict again."
    )


@st.fragment(run_every=_OFTEN)
def _room(key: Key, answers: Mapping[str, str]) -> None:
    """How many in the room have answered; which answer, once this session has."""
    counts = room.answers(key)
    total = sum(counts.values())
    with st.container(border=True, key=f"room_{key[2]}"):
        st.markdown(f"**In the room:** {counted(total, 'answer')} so far.")
        if total and key in given_answers():
            for name, text in answers.items():
                st.progress(counts.get(name, 0) / total, f"{counts.get(name, 0)}: {text}")


def at_once(here: Here, question: Question) -> str:
    """A question as one block of markdown with its answers and what was measured, for paper."""
    found = outcome(here, question.id)
    if found is None:
        return ""
    values, facts = filling(here, found)
    answers = {name: fill(text, values, facts) for name, text in question.answers.items()}
    listed = "\n".join(f"- {text}" for text in answers.values())
    measured = f"Measured here: **{answers[found.right]}.** Judged by {fill(question.judged, values, facts)}."
    return f"**Predict.** {fill(question.question, values, facts)}\n\n{listed}\n\n{measured}"


def in_lesson(here: Here, name: str) -> bool:
    """A question inside a lesson, in a frame; whether the lesson, which goes on to answer it, may go on."""
    key = (here.at, here.sets, name, "")
    with st.container(border=True, key=f"predict_{name}"):
        st.markdown("**Predict**")
        waits = draw(here, texts.questions()[name]) and key not in _passed()
        if waits:
            st.button(
                "Read on without answering", key=f"read_on_{name}", type="tertiary", icon=":material/arrow_downward:",
                on_click=_passed().add, args=(key,),
            )  # fmt: skip
    return not waits
