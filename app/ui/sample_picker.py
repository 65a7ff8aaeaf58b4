"""Choosing one image: quick picks, data set and number, previous and next, and a browser of thumbnails."""

import pandas as pd
import streamlit as st

from app.backend import library, registry, samples, setups, thumbnails
from app.errors import plain
from app.link.picks import Pick
from app.link.spec import RunSpec
from app.link.state import bind, dispatch, tie
from app.ui import pictures, plot
from ash import images

WHY = {
    "Rescued": "OOD: accepted without shaping, rejected with it. ",
    "Broken": "OOD: rejected without shaping, accepted with it. ",
}
BROWSED, BROWSED_SIDE = 60, 56  # images in the browser of thumbnails, and their pixels
LEFT, RIGHT = ":material/chevron_left:", ":material/chevron_right:"
THUMBNAIL = 36  # pixels on the screen


def data_set(spec: RunSpec) -> str:
    """The data set's own name; in a spec the ID set is called `id`."""
    return setups.setup(spec).id_set if spec.source == "id" else spec.source


def index(spec: RunSpec) -> int:
    """The number of the image that is shown; a link may ask for one beyond the end."""
    return min(spec.sample, len(setups.whole_set(data_set(spec))) - 1)


def go_to(source: str, number: int) -> None:
    """Callback: show another image."""
    dispatch(Pick.field("source", source))
    dispatch(Pick.field("sample", number))


def quick(spec: RunSpec) -> None:
    """Samples that explain this setting, as small pictures with a button each."""
    at = setups.setup(spec)
    found = samples.suggestions(at, str(spec.method), tuple(setups.chosen_sets(spec)), spec.tpr / 100)
    named = [(at.id_set if one.source == "id" else one.source, one.index) for one in found]
    small = thumbnails.small_pictures(named, 2 * THUMBNAIL)
    with st.container(horizontal=True, gap="small", key="quick_picks"):
        for one, (name, number), picture in zip(found, named, small, strict=True):
            chosen, data = (spec.source, index(spec)) == (one.source, number), setups.whole_set(name)
            with st.container(horizontal=True, gap="xsmall", vertical_alignment="center", width="content"):
                if picture.uri:
                    st.image(picture.uri, width=THUMBNAIL)
                elif picture.absent:
                    pictures.show(None, (data.label, data.names[number]), THUMBNAIL)
                st.button(
                    one.label,
                    key=f"quick_{one.label}",
                    type="primary" if chosen else "tertiary",
                    on_click=go_to,
                    args=(one.source, number),
                    help=f"{WHY.get(one.label, '')}{data.label}, number {number}",
                )


def bar(spec: RunSpec) -> None:
    """Data set, number, previous, next, and the browser."""
    names = {
        "id": setups.whole_set(setups.setup(spec).id_set).label + " (ID)",
        **{name: setups.set_label(name) for name in setups.setup(spec).ood},
    }
    size, now = len(setups.whole_set(data_set(spec))), index(spec)
    source = tie("spec_source", spec.source, lambda name: go_to(name, 0), "source")
    number = bind("sample", to_widget=lambda value: min(value, size - 1))
    with st.container(horizontal=True, vertical_alignment="bottom", gap="xsmall"):
        st.selectbox("Data set", list(names), format_func=lambda name: names.get(name, name), width=165, **source)
        st.number_input("Number", 0, size - 1, step=1, width=110, help=f"0 to {size - 1:,}", **number)
        back, on = (spec.source, now - 1), (spec.source, now + 1)
        st.button(LEFT, key="sample_previous", help="Previous image", disabled=now == 0, on_click=go_to, args=back)
        st.button(RIGHT, key="sample_next", help="Next image", disabled=now == size - 1, on_click=go_to, args=on)
        with st.popover("Browse", icon=":material/image_search:", on_change="rerun", key="sample_browse") as browser:
            if browser.open:
                _browse(spec, now, size)


def broken(spec: RunSpec, error: images.DataError) -> None:
    """A sentence in the place of an image that cannot be shown, and the way to another one."""
    unreadable(error)
    bar(spec)


def unreadable(error: images.DataError) -> None:
    """A sentence in the place of an image that cannot be shown."""
    st.error(plain(library.shown(error)), icon=":material/broken_image:")


def _browse(spec: RunSpec, now: int, size: int) -> None:
    """Thumbnails of the images from this one on; a row is a pick."""
    data, classes = setups.whole_set(data_set(spec)), registry.entry(spec.model).classes
    start = min(now, max(0, size - BROWSED))
    numbers = range(start, min(start + BROWSED, size))
    labels = setups.reading(spec.model, data_set(spec)).labels if spec.source == "id" else None
    frame = pd.DataFrame(
        {
            "number": list(numbers),
            "class": ["" if labels is None or labels[i] < 0 else classes[labels[i]] for i in numbers],
        },
        index=[str(i) for i in numbers],
    )
    if data.has_images:
        small = thumbnails.small_pictures([(data_set(spec), i) for i in numbers], BROWSED_SIDE)
        frame.insert(0, "image", [one.uri or None for one in small])
        if any(one.broken for one in small):
            frame["no picture"] = [library.shown(one.broken) for one in small]
    else:
        frame["name"] = [data.names[i] for i in numbers]
        pictures.how_to_get((data_set(spec),))
    st.caption("Choose a row. The list starts at the number above.")
    plot.rows(
        frame,
        "sample_rows",
        on_pick=lambda text: Pick.field("sample", int(text)),
        selected=str(now),
        columns={"image": st.column_config.ImageColumn("Image", width="small")},
        height=360,
    )
