"""Lessons: six of about five minutes, each with its own URL, its charts live, and a handout."""

from urllib.parse import urlsplit, urlunsplit

import streamlit as st

from app.backend import registry
from app.errors import plain
from app.link import state
from app.link.picks import Pick
from app.link.spec import RunSpec
from app.link.state import dispatch
from app.ui import scrolling, share, texts
from app.ui.lessons import charts, questions, set_pictures
from app.ui.lessons.facts import Found, Here
from app.ui.lessons.template import fill
from app.ui.texts import Lesson
from app.views.lessons import handout
from ash.methods import VARIANTS, Method

_STYLE = """<style>
.st-key-lesson {max-width: 54rem; margin: 0 auto}
.st-key-lesson [data-testid="stMarkdownContainer"] {font-size: 1.08rem; line-height: 1.6}
.st-key-lesson_question {border-left: 4px solid var(--st-primary-color, #0072B2); padding-left: 1rem}
.st-key-lesson_question p {font-size: 1.3rem; line-height: 1.4}
.st-key-lesson_cards {display: grid; grid-template-columns: repeat(auto-fit, minmax(270px, 1fr)); align-items: stretch;
  gap: 0.75rem}
.st-key-lesson_cards > div {width: auto}
</style>"""


def render(spec: RunSpec) -> None:
    """Draw the page for this spec: all lessons, or the one that is open."""
    st.html(_STYLE)
    scrolling.to_top("lesson", spec.lessons.lesson)
    every = texts.lessons()
    if spec.lessons.lesson in every:
        with st.container(key="lesson"):
            _lesson(spec, every[spec.lessons.lesson])
    else:
        _overview(spec)


def _overview(spec: RunSpec) -> None:
    every = texts.lessons()
    st.title("Lessons")
    total = sum(one.minutes for one in every.values())
    st.markdown(
        f"**{len(every)} lessons, about {total} minutes together. Every number in them is measured on the network in "
        f"the sidebar, now {plain(registry.entry(spec.model).label)}.**"
    )
    with st.container(key="lesson_cards"):
        for number, one in enumerate(every.values(), 1):
            with st.container(border=True, height="stretch", key=f"card_{one.id}"):
                st.markdown(f"##### {number}. {one.title}")
                st.markdown(one.line)
                st.caption(f"About {one.minutes} minutes")
                _go("Open", one.id, f"open_{one.id}", "menu_book", f"Open lesson {number}: {one.title}")


def _go(label: str, lesson: str, key: str, icon: str, help: str) -> None:
    """A button that opens a lesson. No link: one that leads to where this session has been is taken for an old one."""
    pick = Pick.field("lesson", lesson)
    st.button(label, key=key, icon=f":material/{icon}:", help=help, on_click=dispatch, args=(pick,))


def _lesson(spec: RunSpec, lesson: Lesson) -> None:
    order = list(texts.lessons())
    number = order.index(lesson.id) + 1
    st.caption(f"Lesson {number} of {len(order)}, about {lesson.minutes} minutes")
    st.title(lesson.title)
    with st.container(key="lesson_question"):
        st.markdown(lesson.question)
    _turn(order, number, "top")
    if not charts.ready(spec):
        return
    here = Here(spec)
    with st.spinner("Measuring what this lesson shows"):
        found = charts.found(here, lesson.id)
        blocks = filled(lesson, found)
    for kind, text in blocks:
        if kind == "text":
            st.markdown(text)
        elif kind == "predict":
            if not questions.in_lesson(here, text):
                break
        elif kind == "pictures":
            set_pictures.draw(text, here)
        else:
            charts.draw(text, here, found)
    st.divider()
    with st.container(horizontal=True):
        _view(spec, lesson)
        _handout(here, lesson, blocks, found)
    _turn(order, number, "bottom")


def filled(lesson: Lesson, found: Found) -> list[tuple[str, str]]:
    """The parts of a lesson with its numbers, names as they are written."""
    values = {name: plain(value) for name, value in found.values.items()}
    return [(kind, fill(text, values, found.facts) if kind == "text" else text) for kind, text in lesson.parts]


def _turn(order: list[str], number: int, where: str) -> None:
    """Previous lesson, all lessons, next lesson."""
    titles = {key: one.title for key, one in texts.lessons().items()}
    with st.container(horizontal=True):
        if number > 1:
            before = order[number - 2]
            _go("Previous", before, f"previous_{where}", "arrow_back", f"Previous: {titles[before]}")
        _go("All lessons", "none", f"all_{where}", "menu_book", "All lessons")
        if number < len(order):
            after = order[number]
            _go("Next", after, f"next_{where}", "arrow_forward", f"Next: {titles[after]}")


def _view(spec: RunSpec, lesson: Lesson) -> None:
    """The page of the explorer that shows more of the lesson's chart."""
    title = state.page_title(lesson.view)
    if st.button(f"Open {title}", key="lesson_view", icon=":material/arrow_outward:"):
        if method := loaded(spec, lesson):
            dispatch(Pick.method(method))
        state.open_page(lesson.view)


def loaded(spec: RunSpec, lesson: Lesson) -> str:
    """The method that the lesson is about, "" where it is about all of them."""
    if lesson.loads not in VARIANTS:
        return ""
    return str(Method(lesson.loads, spec.p if VARIANTS[lesson.loads].parameter else None))


def _handout(here: Here, lesson: Lesson, blocks: list[tuple[str, str]], found: Found) -> None:
    foot = handout_foot(here, share.lasting_link(here.spec))
    share.download(
        "Handout (HTML, prints on A4)",
        lambda: handout.page(lesson.title, lesson.question, blocks, found.pictures, printed(here, blocks), foot),
        f"ash-lesson-{lesson.id}.html",
        "lesson_handout",
        icon="print",
    )


def handout_foot(here: Here, link: str) -> str:
    """Where the numbers of a handout come from: network, sets, how many images, the day, and the way to the lesson.

    Of a link to the machine it was made on, only what any explorer understands.
    """
    about, values, where = share.provenance(here.spec), here.common(), urlsplit(link)
    if where.hostname in ("localhost", "127.0.0.1"):
        link = f"In the explorer: {urlunsplit(('', '', where.path, where.query, ''))}"
    known, unknown = f"{values['id_images']} ID images of {values['id_set']}", f"{values['ood_images']} OOD images"
    said = f"{known}, {unknown} of {values['set_names']}"
    return f"{values['model']}: {said}. Measured {about.get('date', 'on this server')[:10]}. {link}"


def printed(here: Here, blocks: list[tuple[str, str]]) -> dict[str, handout.Block]:
    """What a handout holds beside texts and curves, by name: its table, its pictures, its question with the answer."""
    made: dict[str, handout.Block] = {}
    for kind, name in blocks:
        if kind == "predict":
            made[name] = questions.at_once(here, texts.questions()[name])
        elif kind == "pictures":
            made[name] = handout.Html(set_pictures.as_html(here, set_pictures.GROUPS[name](here)))
        elif name == "report":
            made[name] = charts.report(here)
    return made
