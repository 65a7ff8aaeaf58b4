"""A detector as an ONNX program, for runtimes that are not PyTorch; what it is stands in its metadata, as in a `.pt2`.

The exporter is torch's, which needs `onnx` and `onnxscript`; where `onnxruntime` is installed too, its answers are
compared with the network's before the file is handed out.
"""

import json
from dataclasses import asdict
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch

from ash.detector import ABOUT, PROBES, TOLERANCE, Detector, DetectorError, batch_dimension, probe

OUTPUTS = ("classes", "scores", "accepted")
CHECKED = "Checked: onnxruntime answers as the network does."
UNCHECKED = "Not checked: onnxruntime is not installed here, so nobody has compared its answers with the network's."
_NEEDED = ("onnx", "onnxscript")


def check_installed() -> None:
    """DetectorError where torch cannot export to ONNX."""
    if missing := [name for name in _NEEDED if find_spec(name) is None]:
        names = " ".join(missing)
        raise DetectorError(f"An ONNX file takes the package {names}: run `pip install {names}`, or write a .pt2.")


def exported(made: Detector) -> tuple[bytes, bool]:
    """The file of a detector for any batch size, and whether its answers were compared with the network's.

    DetectorError where torch cannot export it, and where onnxruntime answers otherwise.
    """
    check_installed()
    try:
        program: Any = torch.onnx.export(
            made, (probe(made, 2),), dynamo=True, dynamic_shapes=({0: batch_dimension()},), input_names=["images"],
            output_names=list(OUTPUTS), verbose=False,
        )  # fmt: skip
        model = program.model_proto
        told = model.metadata_props.add()
        told.key, told.value = ABOUT, json.dumps(asdict(made.about))
        content: bytes = model.SerializeToString()
    except Exception as error:  # of whatever kind: an operation that ONNX has not, or more than its 2 GB
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise DetectorError(
            f"{made.about.model} with {made.about.method} cannot be written as ONNX: {reason} A .pt2 may do."
        ) from error
    if find_spec("onnxruntime") is None:
        return content, False
    _compare(made, content)
    return content, True


def _compare(made: Detector, content: bytes) -> None:
    """DetectorError where onnxruntime answers otherwise than the module, for batches of several sizes."""
    from onnxruntime import InferenceSession

    for count in PROBES:
        images = probe(made, count)
        with torch.inference_mode():
            classes, scores, accepted = (one.numpy() for one in made(images))
        try:
            session = InferenceSession(content, providers=["CPUExecutionProvider"])
            found = session.run(list(OUTPUTS), {"images": images.numpy()})
        except Exception as error:  # of onnxruntime's own kinds: an operation that it has not
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise DetectorError(f"onnxruntime cannot run the ONNX file of {made.about.model}: {reason}") from error
        near = np.isclose(scores, made.about.threshold, TOLERANCE, TOLERANCE)  # a rounding decides
        same = np.array_equal(found[0], classes) and np.array_equal(found[2][~near], accepted[~near])
        if not same or not np.allclose(found[1], scores, TOLERANCE, TOLERANCE):
            raise DetectorError(
                f"The ONNX file of {made.about.model} answers {count} images otherwise than the network."
            )
