"""Networks of nearly all families of timm, untrained: registered, cut at the right tensor, extracted, swept? By hand.

    python tests/benchmarks/timm_networks.py [--only NAME,NAME] [--images 8]

The right tensor is what timm itself says enters the classifier: `forward_head(forward_features(x), pre_logits=True)`.
Where that classifier has a hidden layer it is what enters its last one, as a hook on that layer sees it.
"""

# ruff: noqa: E402
import argparse
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).resolve().parents[2])]

import numpy as np
import torch

import ash
from ash.datasets.made_sets import MemoryImages
from ash.errors import AshError
from ash.methods import parse_methods

NETWORKS = (
    *("resnet10t", "resnetv2_18", "legacy_seresnet18", "skresnet18", "resnest14d", "res2net50_14w_8s", "densenet121"),
    *("vgg11", "inception_v3", "inception_v4", "inception_resnet_v2", "legacy_xception", "xception41", "dpn48b"),
    *("dla46_c", "hrnet_w18_small", "regnetx_002", "repvgg_a0", "mobileone_s0", "botnet26t_256", "halonet26t"),
    *(
        "lambda_resnet26t",
        "nf_regnet_b0",
        "tresnet_m",
        "selecsls42",
        "rexnet_100",
        "cs3darknet_focus_s",
        "cspnext_tiny",
    ),
    *("ese_vovnet19b_slim_dw", "hgnetv2_b0", "mobilenetv3_small_050", "lcnet_035", "hardcorenas_a", "ghostnet_050"),
    *("repghostnet_050", "efficientnet_b0", "tf_efficientnet_lite0", "mnasnet_small", "mixnet_s", "convnext_atto"),
    *("convmixer_768_32", "inception_next_atto", "rdnet_tiny", "mambaout_femto", "fasternet_t0", "starnet_s050"),
    *("focalnet_tiny_srf", "nextvit_small", "poolformer_s12", "caformer_s18", "edgenext_xx_small", "mobilevit_xxs"),
    *("mobilevitv2_050", "fastvit_t8", "repvit_m0_9", "efficientformer_l1", "efficientformerv2_s0", "swiftformer_xs"),
    *(
        "shvit_s1",
        "efficientvit_b0",
        "efficientvit_m0",
        "efficientvim_m1",
        "lowformer_b0",
        "levit_128s",
        "levit_conv_128s",
    ),
    *("maxvit_rmlp_pico_rw_256", "coatnet_pico_rw_224", "gcvit_xxtiny", "mvitv2_tiny", "nest_tiny", "pvt_v2_b0"),
    *("twins_svt_small", "swin_tiny_patch4_window7_224", "swinv2_tiny_window8_256", "swinv2_cr_tiny_224", "davit_tiny"),
    *("hiera_tiny_224", "tiny_vit_5m_224", "visformer_tiny", "coat_lite_tiny", "convit_tiny", "crossvit_9_240"),
    *("cait_xxs24_224", "xcit_nano_12_p16_224", "volo_d1_224", "tnt_s_patch16_224", "pit_ti_224", "sequencer2d_s"),
    *("mixer_s32_224", "gmlp_ti16_224", "resmlp_12_224", "vit_tiny_patch16_224", "deit_tiny_patch16_224"),
    *("deit3_small_patch16_224", "deit_tiny_distilled_patch16_224", "beit_base_patch16_224", "eva02_tiny_patch14_336"),
    *("vit_relpos_small_patch16_224", "vit_tiny_r_s16_p8_224", "samvit_base_patch16_224", "csatv2", "cpubone_nano"),
)
METHODS = "energy,ash_s@60:90:10,ash_b@65,ash_p@60,scale@85"


@dataclass(frozen=True)
class Row:
    """What came of a network: `verdict` is `right`, `wrong` or `refused`, `why` a sentence of a refusal."""

    name: str
    verdict: str
    placement: str = ""
    shape: tuple[int, ...] = ()
    places: int = 0
    linear: bool = False
    seconds: float = 0.0
    why: str = ""

    def __str__(self) -> str:
        if self.verdict == "refused":
            return f"{self.name:<32} refused  {self.seconds:5.1f} s  {self.why}"
        size, tail = " x ".join(map(str, self.shape)), "linear" if self.linear else "deep"
        return (
            f"{self.name:<32} {self.verdict:<8} {self.seconds:5.1f} s  {self.placement:<34} {size:<14} {tail:<7}"
            f"{self.places:>4} placements  {self.why}"
        )


def examine(name: str, folder: Path, images: int) -> Row:
    """Register an untrained network by its name and a file of its weights, cut, extract, sweep."""
    import timm

    start = time.perf_counter()
    torch.manual_seed(0)
    network: Any = timm.create_model(name).eval()
    for module in network.modules():  # statistics that are not all 0 and 1, so that a wrong cut shows
        if isinstance(module, torch.nn.modules.batchnorm._BatchNorm) and module.running_mean is not None:
            module.running_mean.uniform_(-0.1, 0.1)
            module.running_var.uniform_(0.8, 1.2)
    weights = folder / f"{name}.pt"
    torch.save(network.state_dict(), weights)
    try:
        entry = ash.get_model(f"timm/{name}", weights)
        stem, tail = ash.split(entry.build(), entry.penultimate)
    except AshError as error:
        return Row(name, "refused", seconds=time.perf_counter() - start, why=str(error))
    x = torch.randn(3, *entry.preprocess.shape, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        found, logits, entering = stem(x), network(x), last_input(network, x)
        said = network.forward_head(network.forward_features(x), pre_logits=True)
        same = found.numel() == said.numel() and torch.equal(found.flatten(1), said.flatten(1))
        whole = torch.equal(tail(found), logits)
    rng = np.random.default_rng(0)
    pixels = {part: rng.integers(0, 256, (images, 96, 96, 3), dtype=np.uint8) for part in ("a", "b")}
    sets = {part: MemoryImages(values, None, part, part) for part, values in pixels.items()}
    banks = {part: ash.extract(entry, entry.penultimate, data, root=folder / "banks") for part, data in sets.items()}
    table = ash.sweep(tail, banks["a"], {"b": banks["b"]}, parse_methods(METHODS)).table()
    done = bool(np.isfinite(table.auroc).all())
    hidden = not same and found.shape[1:] == entering.shape[1:] and torch.equal(found, entering)
    verdict = "right" if (same or hidden) and whole and done else "wrong"
    why = "" if verdict == "right" else f"timm's {tuple(said.shape[1:])}, logits {whole}, sweep {done}"
    if hidden:
        why = f"behind a hidden layer of timm's classifier, which takes {tuple(said.shape[1:])}"
    if "at its head" in entry.note:
        why = entry.note.partition(" So it is cut")[0]
    from ash.splitting import linear_tail

    return Row(
        name, verdict, entry.penultimate, tuple(found.shape[1:]), len(ash.models.cuts_of(f"timm/{name}")),
        linear_tail(tail, tuple(found.shape[1:])) is not None, time.perf_counter() - start, why,
    )  # fmt: skip


@torch.inference_mode()
def last_input(network: torch.nn.Module, x: torch.Tensor) -> torch.Tensor:
    """What enters the linear layer or convolution that is called last."""
    seen: list[torch.Tensor] = []
    hooks = [
        module.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
        for module in network.modules()
        if isinstance(module, torch.nn.Linear | torch.nn.Conv2d)
    ]
    network(x)
    for hook in hooks:
        hook.remove()
    return seen[-1]


def rows(names: tuple[str, ...], images: int) -> Iterator[Row]:
    """Examine one after the other, with weights and banks in a folder that is gone then."""
    for name in names:
        with tempfile.TemporaryDirectory() as folder:
            os.environ["ASH_DATA"] = os.environ["ASH_CACHE"] = folder
            yield examine(name, Path(folder), images)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="")
    parser.add_argument("--images", type=int, default=8)
    given = parser.parse_args()
    torch.set_flush_denormal(True)  # what untrained networks make of noise fades, and such numbers are slow
    chosen = tuple(given.only.split(",")) if given.only else NETWORKS
    found = []
    for row in rows(chosen, given.images):
        print(row, flush=True)
        found.append(row)
    counts = {verdict: sum(row.verdict == verdict for row in found) for verdict in ("right", "refused", "wrong")}
    alone = sum(row.places == 1 for row in found)
    print(f"{len(found)} networks: {counts}; {alone} cut at their head alone")
