"""Every placement of the network: which to compare as well, and a table whose rows load one."""

from math import prod
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import streamlit as st

from app.backend import layer_status, registry, setups
from app.link.picks import Pick
from app.link.spec import RunSpec
from app.link.state import bind
from app.theme import size
from app.ui import plot

if TYPE_CHECKING:
    from app.backend.layer_status import Cut


def draw(spec: RunSpec) -> None:
    """An expander; the network is only traced once it is open."""
    with st.expander(
        "More placements: every point where this network can be cut",
        key="all_cuts",
        icon=":material/account_tree:",
        on_change="rerun",
        expanded=bool(spec.placements.more),
    ) as more:
        if not more.open:
            return
        with st.spinner("Tracing the network"):
            cuts = layer_status.cuts(spec.model)
        _choice(spec, cuts)
        st.markdown(
            f"{len(cuts)} placements from input to output. A row loads its placement on every page; where its "
            "activations are not computed, the pages say what they cost."
        )
        plot.rows(
            table(spec, cuts),
            "cuts",
            on_pick=lambda node: Pick.field("placement", layer_status.link_name(spec.model, node)),
            selected=setups.setup(spec).placement,
            columns=_columns(),
        )


def _choice(spec: RunSpec, cuts: "tuple[Cut, ...]") -> None:
    named = {registry.entry(spec.model).penultimate, *registry.placements(spec.model)}
    offered = {cut.name: describe(cut, spec.dtype) for cut in cuts if cut.name not in named}
    st.multiselect(
        "Compare as well",
        list(offered),
        format_func=lambda name: offered.get(name, name),
        placeholder=f"Search in {len(offered)} more placements",
        **bind("more", to_widget=lambda names: [name for name in names if name in offered], from_widget=tuple),
    )


def describe(cut: "Cut", dtype: str) -> str:
    """`layer3.5.add: 1024 × 14 × 14, 803 kB an image, before the ReLU, may be negative`."""
    facts = [shape(cut), f"{size(_bytes(cut, dtype))} an image"]
    facts += ["before the ReLU"] if cut.before_relu else []
    facts += ["may be negative"] if cut.signed else []
    return f"{cut.name}: {', '.join(facts)}"


def shape(cut: "Cut") -> str:
    """`1024 × 14 × 14`."""
    return " × ".join(str(one) for one in cut.shape)


def _bytes(cut: "Cut", dtype: str) -> int:
    return int(prod(cut.shape) * np.dtype(dtype).itemsize)


def table(spec: RunSpec, cuts: "tuple[Cut, ...]") -> pd.DataFrame:
    """One row a placement in network order; the index is its node."""
    labels = registry.entry(spec.model).placements
    rows = [
        {
            "Placement": cut.name,
            "Name": labels.get(cut.name, ""),
            "Shape": shape(cut),
            "Values": prod(cut.shape),
            "kB an image": _bytes(cut, spec.dtype) / 1e3,
            "Percentiles": "one pass for all" if cut.linear else "one pass each",
            "Before a ReLU": cut.before_relu,
            "Negative values": {True: "may have", False: "none", None: "not known"}[cut.signed],
        }
        for cut in cuts
    ]
    return pd.DataFrame(rows, index=pd.Index([cut.name for cut in cuts], name="node"))


def _columns() -> dict[str, object]:
    return {
        "Values": st.column_config.NumberColumn(format="localized"),
        "kB an image": st.column_config.NumberColumn(format="%.1f", help="Of the activation, as it is stored."),
        "Percentiles": st.column_config.TextColumn(
            help="Where only a pooling and a linear layer follow, one pass gives all percentiles."
        ),
    }
