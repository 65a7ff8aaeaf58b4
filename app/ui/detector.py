"""A view's detector to take away: what it is, the command that writes it, and the file itself."""

from collections.abc import Generator

import streamlit as st

from app.backend import detectors, library, setups
from app.backend.banks import Step
from app.errors import plain
from app.link.spec import RunSpec
from app.theme import size
from app.ui import share, work

_JOB = work.Task("detector_job")  # the command that this session is running
_MADE = "detector_made"  # the last command that has run in this session, and its file


def export(spec: RunSpec) -> None:
    """An expander with all of it, closed at first."""
    with st.expander("Export a detector", icon=":material/output:", key="detector", on_change="rerun") as more:
        if more.open:
            _export(spec)


def _export(spec: RunSpec) -> None:
    if setups.is_features(spec.model):
        st.caption("A detector takes images in, and this network has none: it is made of features.")
        return
    if refused := detectors.refusal(spec):
        st.caption(plain(refused))
        return
    told, file = detectors.arguments(spec), share.file_name(spec.model, str(spec.method)) + ".pt2"
    st.markdown(
        "This setting with its network as one file: images in; class, score and *accepted* out. Its threshold accepts "
        f"{spec.tpr:g} % of the ID images. It runs wherever PyTorch does, without this explorer."
    )
    st.code(detectors.command(spec, file), language="bash", wrap_lines=True)
    if library.may_compute():
        _make(told, file)
    st.caption("Score a folder with it, and see whether its images are like those of the calibration:")
    st.code(f"python -m ash score {file} FOLDER --out scores.csv", language="bash")


def _make(told: tuple[str, ...], file: str) -> None:
    busy = _JOB.what == told
    made = st.session_state.get(_MADE)
    if made is not None and made[0] == told:
        content = made[1]
        label = f"Download {file} ({size(len(content))})"
        st.download_button(
            label, content, file, "application/octet-stream", key="detector_file", on_click="ignore",
            icon=":material/download:",
        )  # fmt: skip
        return
    start = ("Make the file", "output", _JOB.start)
    work.button("detector_make", busy, start, ("Cancel", "stop", _JOB.stop), **({} if busy else {"args": (told,)}))
    if busy:
        place = st.empty()
        _JOB.take(_steps(told), lambda step: place.caption(f"Exporting, comparing with the network: {step.done} s"))
        st.rerun()


def _steps(told: tuple[str, ...]) -> Generator[Step, None, None]:
    """Run the command and keep its file for as long as the session, or until the next."""
    st.session_state[_MADE] = told, (yield from detectors.write(told))
