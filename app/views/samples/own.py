"""Page Samples, your own images: drop them, read their verdicts, see them among the ID and OOD scores.

The files stay in this session's memory: the drop zone hands them over and is emptied, so that they outlast a change of
page and are gone with "Remove all", or with the session.
"""

import html
import re
from collections.abc import Callable

import pandas as pd
import streamlit as st
from streamlit.runtime.uploaded_file_manager import UploadedFile

from app.backend import banks, evaluations, registry, setups, uploads
from app.backend.uploads import Scored, Uploads
from app.charts import bins, verdict_words
from app.charts.bins import Scores
from app.charts.score_words import score_text
from app.errors import plain
from app.link import state, streamlit_private
from app.link.spec import RunSpec
from app.theme import count
from app.ui import code, plot, prepare, share, work
from app.views.samples import one, one_why, upload_histogram
from app.views.samples.one_facts import facts_of_own
from ash import drift
from ash.metrics import accepts, threshold_at_tpr

CARD = 312  # pixels on the screen, as the cards of the story
CRISP = ' class="crisp"'
FEW = 8  # images whose cards stand above the picture; more of them would push it out of sight
LISTED, TALL = 60, 6  # refused files that are named, and those that are seen at once
LIMITS = (
    f"Up to {uploads.MOST_FILES} images: PNG, JPEG or WebP, each at most {uploads.MOST_BYTES / 1e6:g} MB and "
    f"{uploads.MOST_PIXELS / 1e6:g} megapixels. They stay in the memory of this session, are never written to disk, "
    "and are gone when it ends."
)
_OWN, _DROP, _ASKED = "own_uploads", "own_drop", "own_asked"  # keys of the session state


def draw(spec: RunSpec) -> None:
    """Draw this part of the page for this spec."""
    if setups.is_features(spec.model):
        st.info("This network is made of features, so no image can be sent through it.", icon=":material/hide_image:")
        return
    own = _session()
    _drop_zone(own)
    if own.files and not _work(spec, own):
        return
    _refused(own)
    if not own.files:
        st.caption(
            "Every image goes through the chosen network up to the placement, is shaped and scored as the data sets "
            "are, and is judged at the threshold that accepts most of the ID images."
        )
        return
    if banks.missing_sets(setups.setup(spec)):
        _without_threshold(spec, own)
    elif prepare.ready(spec):
        _judged(spec, own)


def _session() -> Uploads:
    """This session's files."""
    found: Uploads = st.session_state.setdefault(_OWN, Uploads())
    return found


def _drop_zone(own: Uploads) -> None:
    uploads.keep_in_memory()
    key = f"{_DROP}_{st.session_state.setdefault(_DROP, state.number_in_use(_DROP))}"
    # No `type`: the content decides, and every file that is refused gets its own sentence.
    st.file_uploader(
        "Drop images here",
        accept_multiple_files=True,
        key=key,
        max_upload_size=uploads.MOST_BYTES // 10**6,
        on_change=_take,
        args=(key,),
    )
    with st.container(horizontal=True, vertical_alignment="center"):
        st.caption(LIMITS, width="stretch")
        if own.files or own.refused:
            st.button("Remove all", key="own_clear", icon=":material/delete:", on_click=_clear)


def _take(key: str) -> None:
    """Callback: move the files of the drop zone to this session's own, and give it a fresh, empty one."""
    own = _session()
    own.refused.clear()
    for file in streamlit_private.value_of(key, ()):
        if not isinstance(file, UploadedFile):  # of a connection that was lost
            continue
        own.add(file.name, file.getvalue())
        streamlit_private.forget_upload(file)
    st.session_state[_DROP] += 1


def _clear() -> None:
    """Callback: forget everything."""
    _session().clear()
    st.session_state.pop(_ASKED, None)


def _remove(digest: str) -> None:
    """Callback: forget one image. Streamlit keeps callbacks for long, so none may hold on to the files."""
    _session().remove(digest)
    if st.session_state.get(_ASKED) == digest:
        del st.session_state[_ASKED]


def _work(spec: RunSpec, own: Uploads) -> bool:
    """Score what is new; a click anywhere interrupts it, and the next run goes on. False where it cannot be scored."""
    if spec.other and not banks.missing_sets(setups.setup(spec)) and not prepare.ready(spec):
        return False
    bar = st.empty()
    show = work.shower(bar)
    steps = own.work(setups.setup(spec), str(evaluations.unshaped(spec).method), str(spec.method))
    # a method that uploads cannot have is refused for as long as it is chosen: nothing is to be ended
    work.take(steps, lambda step: step.done < step.total and show(step), lambda: None)
    bar.empty()
    return True


def _refused(own: Uploads) -> None:
    if not own.refused:
        return
    n = len(own.refused)
    st.markdown(f"##### {'1 file is' if n == 1 else f'{count(n)} files are'} not scored")
    with st.container(gap="xsmall", key="own_refused", height="content" if n <= TALL else 220):
        for name, why in own.refused[:LISTED]:
            st.text(f"{name}: {why}")  # a stranger's words: as text, never as markdown
        if n > LISTED:
            st.text(f"and {count(n - LISTED)} more.")


def _without_threshold(spec: RunSpec, own: Uploads) -> None:
    """Classes and scores alone, while the ID scores are not computed; then what computes them."""
    n = len(own.files)
    images = "your image" if n == 1 else f"your {n} images"
    st.markdown(f"**No verdict on {images} yet: the threshold comes from the ID scores, which are not computed.**")
    _cards(spec, own, None)
    prepare.ready(spec)


def _judged(spec: RunSpec, own: Uploads) -> None:
    at = setups.setup(spec)
    after = evaluations.evaluation(at, str(spec.method))
    before = evaluations.evaluation(at, str(evaluations.unshaped(spec).method))
    lines = _lines(spec)
    classes = registry.entry(spec.model).classes
    marks = upload_histogram.marks(
        after.method.label,
        setups.images(at, at.id_set).label,
        after.id_scores,
        {label: after.ood_scores[name] for name, label in setups.chosen_sets(spec).items()},
        [
            (number, own.files[digest].name, classes[own.scored[digest].predicted[1]], own.scored[digest].scores[1])
            for number, digest in enumerate(own.files, start=1)
        ],
        sum(bool(accepts(own.scored[digest].scores[0], lines[0][0])) for digest in own.files),
        spec.tpr,
    )
    reference = "" if after.method == before.method else before.method.label
    st.markdown(f"**{plain(upload_histogram.finding(marks, reference))}**")
    cards_first = len(own.files) <= FEW
    if cards_first:
        _cards(spec, own, lines)
    _picture(spec, marks, reference)
    _drift(spec, own, after.id_scores, marks.record.id.label, lines[1][0])
    if not cards_first:
        _cards(spec, own, lines)
    _why(spec, own)
    _export(spec, own, lines)


def _picture(spec: RunSpec, marks: upload_histogram.Marks, reference: str) -> None:
    plot.show(
        upload_histogram.figure(marks, spec.method.score, plot.dark()),
        "own_marks",
        upload_histogram.finding(marks, reference),
        table=lambda: upload_histogram.table(marks),
        filename=share.file_name("own", spec.method),
    )
    st.caption(
        "How to read it: a mark is the image of that number; a filled circle is accepted, an empty square rejected. "
        "The bars are the images of the data sets, as on the page Scores."
    )


def _drift(spec: RunSpec, own: Uploads, id_scores: Scores, label: str, threshold: float) -> None:
    """Whether the images are like those of the ID set, as `python -m ash score` says of a folder."""
    scores = [own.scored[digest].scores[1] for digest in own.files]
    found = drift.compared(scores, id_scores, len(id_scores), spec.tpr / 100, threshold)
    with st.container(key="own_drift"):
        st.caption(f"**Is it still the same world?** {plain(' '.join(drift.words(found, label)))}")


Line = tuple[float, float]  # a threshold, and the spread of the ID scores


def _lines(spec: RunSpec) -> tuple[Line, Line]:
    """Threshold and unit of the margin, by the score alone and by the method."""
    at, found = setups.setup(spec), []
    for method in (evaluations.unshaped(spec).method, spec.method):
        ids = evaluations.evaluation(at, str(method)).id_scores
        found.append((threshold_at_tpr(ids, spec.tpr / 100), bins.spread(ids)))
    return found[0], found[1]


def _cards(spec: RunSpec, own: Uploads, lines: tuple[Line, Line] | None) -> None:
    with st.container(horizontal=True, gap="small", key="own_cards"):
        for number, digest in enumerate(own.files, start=1):
            with st.container(border=True, width=CARD, height="stretch", gap="xsmall"):
                _card(spec, own, number, digest, lines)


def _card(spec: RunSpec, own: Uploads, number: int, digest: str, lines: tuple[Line, Line] | None) -> None:
    seen, name = own.seen[digest], html.escape(own.files[digest].name)
    pictures = (
        (seen.picture, f"Image {number}: {name}", "image"),
        (seen.input, f"Image {number} as the network sees it", "network's view"),
    )
    left = "".join(
        f'<img src="{uri}"{CRISP if uri.startswith("data:image/png") else ""} alt="{alt}"><p class="less">{caption}</p>'
        for uri, alt, caption in pictures
    )
    first, *rest = _words(spec, own.scored[digest], lines)
    right = [f"<h5>{number}. {name}</h5>", f"<p><strong>{first}</strong></p>", *(f"<p>{one}</p>" for one in rest)]
    right += [f'<p class="less">{html.escape(note)}</p>' for note in seen.notes]
    columns = f"<div>{left}</div><div>{''.join(right)}</div>"
    st.html(f'<div class="sample wide" style="grid-template-columns: 5.5rem 1fr">{columns}</div>')
    with st.container(horizontal=True, gap="small"):
        if lines is not None:
            _button("Why?", "search", f"What decided about image {number}", f"own_why_{digest}", _ask, digest)
        _button("Remove", "close", f"Remove image {number}", f"own_remove_{digest}", _remove, digest)


def _button(label: str, icon: str, about: str, key: str, action: Callable[[str], None], digest: str) -> None:
    st.button(label, key=key, type="tertiary", icon=f":material/{icon}:", help=about, on_click=action, args=(digest,))


def _ask(digest: str) -> None:
    """Callback: say of one image why it was judged so."""
    st.session_state[_ASKED] = digest


def _why(spec: RunSpec, own: Uploads) -> None:
    """Of the image that was asked for all that is said of one sample; it is taken apart anew in every run."""
    digest = st.session_state.get(_ASKED)
    if digest not in own.scored:
        return
    number = list(own.files).index(digest) + 1
    st.divider()
    if spec.other:
        spec = one.with_variant(spec)
    shown = facts_of_own(spec, own, digest, number)
    one_why.wide(shown)
    one.more(spec, shown)


def _words(spec: RunSpec, scored: Scored, lines: tuple[Line, Line] | None) -> list[str]:
    """What a card says, as HTML: the verdict, and what it was without shaping."""
    names = [registry.entry(spec.model).classes[one] for one in scored.predicted]
    methods = evaluations.unshaped(spec).method, spec.method
    found = []
    for method, name, score, line in zip(methods, names, scored.scores, lines or (None, None), strict=True):
        shown = score_text(score, method.score)
        if line is None:
            text = f"<em>{html.escape(name)}</em>, score {shown}"
        else:
            above = verdict_words.margin(score, *line)
            text = verdict_words.verdict(name, above, spec.tpr, lambda one: f"<em>{html.escape(one)}</em>")
        found.append(text)
    if methods[0] == methods[1]:
        return [found[1]]
    return [found[1], f"{html.escape(methods[0].label)}: {found[0]}"]


def _export(spec: RunSpec, own: Uploads, lines: tuple[Line, Line]) -> None:
    origin = {**share.provenance(spec), "images": "uploaded by the user, named by the SHA-256 of their files"}
    made = frame(spec, own, lines)
    share.download(
        "Verdicts of your images (CSV)",
        lambda: plot.csv_text(made, share.dated(origin)),
        share.file_name("own", f"{spec.method}.csv"),
        "own_csv",
    )
    if any(step.variant.does == "random" for step in spec.method.steps):
        st.caption("No program prints this: ASH-RAND draws by an image's number, and here every image is the first.")
    else:
        code.show("own_code", lambda: code.own_program(spec))


def frame(spec: RunSpec, own: Uploads, lines: tuple[Line, Line]) -> pd.DataFrame:
    """One row per image: what it is, then score, margin, verdict and class without shaping and with it."""
    classes = registry.entry(spec.model).classes
    rows = []
    for number, (digest, file) in enumerate(own.files.items(), start=1):
        seen, scored = own.seen[digest], own.scored[digest]
        row: dict[str, object] = {"number": number, "file": cell(file.name), "sha256": digest, "format": seen.format}
        row |= {"width": seen.size[0], "height": seen.size[1]}
        for when, score, predicted, line in zip(
            ("before", "after"), scored.scores, scored.predicted, lines, strict=True
        ):
            above = verdict_words.margin(score, *line)
            row |= {f"predicted_{when}": classes[predicted], f"score_{when}": score, f"threshold_{when}": line[0]}
            row |= {f"margin_{when}": above, f"accepted_{when}": above >= 0}
        rows.append({**row, "notes": " ".join(seen.notes)})
    return pd.DataFrame(rows)


def cell(text: str) -> str:
    """Text of a stranger for a spreadsheet: it begins no formula, and no comment of the CSV file."""
    return re.sub(r"^[=+\-@]", "_", text.replace("#", "_"))
