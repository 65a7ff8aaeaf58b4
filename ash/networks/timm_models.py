"""Any classifier of timm as `timm/NAME`, or of the model hub as `hf-hub:ORG/NAME[@REVISION]`, where timm is installed.

Transform, classes, licence and address of the weights are what the network's own configuration says. Nothing is asked
of the hub here: what is not on this machine is fetched by `python -m ash fetch`, as everything else is.
"""

import difflib
import json
import re
from collections.abc import Iterator
from functools import cache, partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ash.names import HUB, OF_TIMM, TIMM
from ash.networks.checkpoints import SUFFIXES, ModelError, checkpoints_root, find_hub_file, weights_place
from ash.networks.entries import ModelEntry, Preprocess
from ash.networks.torchvision_models import IMAGENET, IMAGENET_OOD, USUAL_PRESETS, imagenet_classes, url_hash
from ash.networks.tracing import default_placements, facts_of

if TYPE_CHECKING:
    from torch import nn

    from ash.splitting import Cut

_REGISTERED = re.compile(r"^@register_model\ndef (\w+)\(", re.MULTILINE)
_SAID = (  # what a configuration may say of a network: how images are prepared, its classes, its licence
    *("input_size", "fixed_input_size", "interpolation", "crop_pct", "crop_mode", "mean", "std", "num_classes"),
    *("label_names", "label_descriptions", "pool_size", "first_conv", "classifier", "license", "tag"),
)
_ABOVE = ("num_classes", "label_names", "label_descriptions")  # beside the published network's, of which it was made
_NOT_GIVEN = {"pretrained", "pretrained_cfg", "pretrained_cfg_overlay", "checkpoint_path", "cache_dir", "scriptable"}
_WEIGHTS, _CONFIG = "model.safetensors", "config.json"  # in a repository of the hub
MISSING = "timm is not installed here: run `pip install timm`."


def is_of_timm(name: str) -> bool:
    """Whether a model's name asks for a network of timm, or of the hub through timm."""
    return name.startswith((TIMM, HUB))


def package_of(name: str) -> str:
    """The package that makes a network that is not the library's own: timm, or torchvision."""
    return "timm" if is_of_timm(name) else "torchvision"


def is_installed() -> bool:
    """Whether timm can be imported, without importing it."""
    return find_spec("timm") is not None


def _sources() -> list[Path]:
    """The files of timm that make networks, to be read without the seconds that importing them takes."""
    spec = find_spec("timm")
    if spec is None or spec.origin is None:
        return []
    folder = Path(spec.origin).parent
    return sorted((*folder.glob("layers/**/*.py"), *folder.glob("models/**/*.py")))


def names_in_source() -> list[str]:
    """The names of timm's networks without their weights' tags, read from its files; none where it is not installed."""
    return sorted(f"{TIMM}{name}" for file in _sources() for name in _REGISTERED.findall(file.read_text()))


def source_of(name: str) -> str:
    """What decides the code of a network: the files of timm and, of one of the hub, its configuration."""
    from ash.files import file_hash

    config = file_hash(config_path(name)) if name.startswith(HUB) else ""
    return f"{_digests()} {config}"


@cache
def _digests() -> str:
    """The hashes of timm's files: they do not change while they are in use."""
    from ash.files import file_hash

    return " ".join(map(file_hash, _sources()))


def label_of(name: str) -> str:
    """The display name of such a network."""
    if name.startswith(HUB):
        return f"{name.removeprefix(HUB)} (model hub)"
    return f"{name.removeprefix(TIMM)} (timm)"


def names_with_weights() -> Iterator[str]:
    """The networks whose weights lie in the data root, where timm is installed."""
    if not is_installed():
        return
    for prefix, pattern in ((TIMM, "timm/*"), (HUB, "hf-hub/*/*")):
        for path in sorted(checkpoints_root().glob(pattern)):
            suffix = next((one for one in SUFFIXES if path.name.endswith(one)), None)
            if suffix:
                place = path.relative_to(checkpoints_root() / pattern.partition("/")[0])
                yield prefix + place.as_posix().removesuffix(suffix)


def config_path(name: str) -> Path:
    """The configuration of a network of the hub: `checkpoints/hf-hub/ORG/NAME[@REVISION].json`, or in its cache."""
    place = checkpoints_root() / f"{weights_place(name)}.json"
    return place if place.is_file() else find_hub_file(hub_url(name.removeprefix(HUB), _CONFIG)) or place


def hub_url(repository: str, file: str) -> str:
    """The public address of a file in a repository of the hub, ORG/NAME, or ORG/NAME@REVISION."""
    place, _, revision = repository.partition("@")
    return f"https://huggingface.co/{place}/resolve/{revision or 'main'}/{file}"


def config_url(name: str) -> str:
    """The public address of the configuration of a network of the hub."""
    return hub_url(name.removeprefix(HUB), _CONFIG)


def _config(name: str) -> dict[str, Any]:
    """The configuration of a network of the hub; ModelError where it is not here, or none of timm's."""
    path = config_path(name)
    if not path.is_file():
        raise ModelError(
            f"The configuration of {name} is not here: run `python -m ash fetch {name}`, or put {_CONFIG} at {path}."
        )
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        told = {**found, **found.get("pretrained_cfg", {}), **{key: found[key] for key in _ABOVE if key in found}}
        told.setdefault("label_names", found.get("labels"))
        about = {key: told[key] for key in _SAID if told.get(key) is not None}
        about["hf_hub_id"] = name.removeprefix(HUB)  # whatever it says: the weights beside it, and no others
        given = {key: value for key, value in dict(found.get("model_args") or {}).items() if key not in _NOT_GIVEN}
        architecture = str(found["architecture"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(_no_config(path)) from error
    import timm

    if not timm.is_model(architecture):
        raise ModelError(_no_config(path))
    return {"architecture": architecture, "about": about, "given": given}


def _no_config(path: Path) -> str:
    return f"{path} is not the configuration of a network of timm: delete it to fetch it again."


def build(name: str) -> "nn.Module":
    """A network without weights, as timm builds it for its published ones."""
    import timm

    if name.startswith(TIMM):
        return timm.create_model(name.removeprefix(TIMM))
    config = _config(name)
    return timm.create_model(config["architecture"], pretrained_cfg=config["about"], **config["given"])


def build_at_its_head(name: str) -> "nn.Module":
    """The same as two parts that torch.fx need not look into: features, classifier."""
    from ash.networks.at_its_head import AtItsHead

    return AtItsHead(build(name))


def find_entry(name: str) -> ModelEntry | None:
    """The entry of a network of timm, None for a name that asks for none; ModelError where it cannot be used."""
    if not is_of_timm(name):
        return None
    if not OF_TIMM.fullmatch(name):
        raise ModelError(
            f"'{name}' names no network: write {TIMM}NAME, as {TIMM}resnet18, or {HUB}ORG/NAME, perhaps with @REVISION."
        )
    if not is_installed():
        raise ModelError(f"{name} is a network of timm, and {MISSING}")
    if name.startswith(TIMM):
        _check_known(name)
    return _entry(name, config_path(name).read_bytes() if name.startswith(HUB) and config_path(name).is_file() else b"")


@cache
def _check_known(name: str) -> None:
    """ModelError, with the nearest, for a name that timm does not have, or weights of a tag that it does not."""
    import timm

    network, _, tag = name.removeprefix(TIMM).partition(".")
    if not timm.is_model(network):
        near = difflib.get_close_matches(network.lower().replace("-", "_"), timm.list_models(), n=1)
        hint = f": did you mean {TIMM}{near[0]}?" if near else "."
        raise ModelError(f"timm {timm.__version__} has no network '{network}'{hint}")
    tags = [one.partition(".")[2] for one in timm.list_pretrained(f"{network}.*")]
    if tag and tag not in tags:
        raise ModelError(f"timm has no weights '{tag}' of {network}: known are {', '.join(tags) or 'none'}.")


@cache
def _entry(name: str, config: bytes) -> ModelEntry:
    """An entry; `config` is the content of the hub's file, so that another one is another entry."""
    from ash.splitting import weightless

    try:
        network: Any = weightless(partial(build, name))
    except ModelError:
        raise
    except Exception as error:  # whatever a constructor of timm raises
        raise ModelError(
            f"timm cannot build {name}: {(str(error).splitlines() or [type(error).__name__])[0]}"
        ) from error
    about, classes = network.pretrained_cfg, int(getattr(network, "num_classes", 0) or 0)
    if not classes:
        raise ModelError(f"{name} has no classifier: it gives features, and nothing to tell classes by.")
    preprocess = preprocess_of(name, network)
    architecture, cuts, why = _cut(name, preprocess)
    places, last = default_placements(name, cuts)
    url = _url(about)
    return ModelEntry(
        name=name,
        label=label_of(name),
        architecture=architecture,
        preprocess=preprocess,
        class_names=class_names(about, classes),
        id_set=IMAGENET,
        ood_sets=IMAGENET_OOD,
        **facts_of(cuts, places),
        presets=dict(USUAL_PRESETS),
        dice_percentile=70,
        url=url,
        url_hash=url_hash(url),
        note=" ".join(_notes(about, why, last)),
    )


def _notes(about: dict[str, Any], why: str, last: "Cut") -> Iterator[str]:
    tag, licence = about.get("tag"), about.get("license")
    yield f"{f'Weights {tag}, licence' if tag else 'Licence'} {licence or 'not stated'}."
    if why:
        yield f"{why} So it is cut at its head, and this is its only placement."
    if last.signed is not False:
        yield "Its penultimate activation may be negative, where ASH-B and ASH-S work by another mechanism."


def _cut(name: str, preprocess: Preprocess) -> "tuple[partial[nn.Module], tuple[Cut, ...], str]":
    """How a network is built, its cuts, and why it is cut at its head alone, "" where it is not.

    ModelError where it can be cut nowhere.
    """
    from ash.networks.at_its_head import check
    from ash.splitting import SplitError, check_penultimate, cuts_of_architecture, weightless

    whole = partial(build, name)
    try:
        cuts = cuts_of_architecture(whole, preprocess.shape)
        if not any(cut.penultimate for cut in cuts):
            check_penultimate(weightless(whole).eval())
        return whole, cuts, ""
    except SplitError as error:
        why = str(error)
    try:
        check(build(name), preprocess.shape)
        parted = partial(build_at_its_head, name)
        return parted, cuts_of_architecture(parted, preprocess.shape, whole=True), why
    except SplitError as error:
        raise ModelError(f"{name} is not offered: {why.replace(': name another placement', '')}") from error


def _url(about: dict[str, Any]) -> str:
    """The public address of the weights, "" where they have none of their own, in timm's own form."""
    if about.get("custom_load") or about.get("hf_hub_filename"):
        return ""  # of another program, which timm converts while it loads them
    if repository := about.get("hf_hub_id"):
        return hub_url(repository, _WEIGHTS)
    return str(about.get("url") or "")


def class_names(about: dict[str, Any], classes: int) -> tuple[str, ...]:
    """The names of a network's classes in label order: those of its configuration, or of the ImageNet it is of."""
    from timm.data import ImageNetInfo, infer_imagenet_subset

    names, words = about.get("label_names"), about.get("label_descriptions") or {}
    if names and len(names) == classes:
        order = [names[key] for key in sorted(names, key=int)] if isinstance(names, dict) else list(names)
        return tuple(str(words.get(one, one)) if isinstance(words, dict) else str(one) for one in order)
    if classes == len(imagenet_classes()):
        return imagenet_classes()
    subset = infer_imagenet_subset(about)
    if subset:
        return tuple(ImageNetInfo(subset).label_descriptions())
    return tuple(f"class {number}" for number in range(classes))


def preprocess_of(name: str, network: Any) -> Preprocess:
    """The transform of a network's configuration, as timm evaluates with; ModelError where it cannot be said so."""
    from timm.data import resolve_model_data_config

    told = resolve_model_data_config(network)
    channels, height, width = told["input_size"]
    way, mode = told["interpolation"], told["crop_mode"] or "center"
    mean, std = tuple(map(float, told["mean"])), tuple(map(float, told["std"]))
    if height != width or way not in ("bilinear", "bicubic") or mode not in ("center", "squash"):
        raise ModelError(f"The transform of {name} is not one resize, centre crop and normalisation: {told}.")
    if channels != len(mean):
        raise ModelError(f"{name} takes images of {channels} channels, and its configuration has {len(mean)} means.")
    resize = int(height / told["crop_pct"])  # as timm rounds it
    return Preprocess(resize, height, mean, std, way, squash=mode == "squash")
