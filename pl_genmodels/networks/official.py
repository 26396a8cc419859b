"""Weights of the authors' PyTorch project of CycleGAN and pix2pix, in both directions.

Their state dicts hold one generator. Its layers stand in the order of ours; names differ in `model` and `conv_block`,
which are `layers` here. Reference: github.com/junyanz/pytorch-CycleGAN-and-pix2pix, models/networks.py.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from pl_genmodels.networks.base import Translator
from pl_genmodels.networks.translators import ResNetTranslator, UNetTranslator

ARCHITECTURES = ("resnet_6blocks", "resnet_9blocks", "unet_128", "unet_256")
STATISTICS = ("running_mean", "running_var", "num_batches_tracked")
PREFIXES = ("module.", "_orig_mod.")
"""What DataParallel and torch.compile put before every name."""

DEFAULT_DROPOUT = {"resnet": 0.0, "unet": 0.5}
"""As the project runs its networks: dropout is the noise of pix2pix, at test time too; CycleGAN has none."""


@dataclass(frozen=True)
class Layout:
    """What a state dict of the project tells about its network.

    Args:
        kind: `resnet` or `unet`.
        inputs: Channels of the input.
        outputs: Channels of the output.
        channels: Feature maps of the first layer.
        depth: Residual blocks, or halvings of a U-Net.
        norm: `batch`, or `instance`, which has no weights.
    """

    kind: str
    inputs: int
    outputs: int
    channels: int
    depth: int
    norm: str

    @property
    def arch(self) -> str:
        """The project's name for it, such as `resnet_9blocks`."""
        return f"resnet_{self.depth}blocks" if self.kind == "resnet" else f"unet_{2**self.depth}"


def _stripped(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Without what wrappers put before the names."""
    found = dict(state)
    for prefix in PREFIXES * 2:
        if found and all(key.startswith(prefix) for key in found):
            found = {key[len(prefix) :]: value for key, value in found.items()}
    return found


def read_layout(state: Mapping[str, Tensor]) -> Layout:
    """Architecture that a state dict belongs to.

    Args:
        state: Of a generator, as the project saves it.

    Raises:
        ValueError: If it is none of its ResNets and U-Nets.
    """
    state = _stripped(state)
    convs = {key: value for key, value in state.items() if key.endswith(".weight") and value.ndim == 4}
    norm = "batch" if any(key.endswith(".weight") and value.ndim == 1 for key, value in state.items()) else "instance"
    blocks = {key.split(".conv_block.")[0] for key in convs if ".conv_block." in key}
    if blocks and "model.1.weight" in convs:
        places = [key.split(".")[1] for key in convs if key.count(".") == 2]
        start, end = convs["model.1.weight"], convs[f"model.{max(places, key=int)}.weight"]
        return Layout("resnet", start.shape[1], end.shape[0], start.shape[0], len(blocks), norm)
    if {"model.model.0.weight", "model.model.3.weight"} <= convs.keys():
        start, end = convs["model.model.0.weight"], convs["model.model.3.weight"]
        return Layout("unet", start.shape[1], end.shape[1], start.shape[0], len(convs) // 2, norm)
    names = ", ".join(list(state)[:3]) or "nothing"
    raise ValueError(
        f"weights: got a state dict that begins with {names}; allowed are generators of the CycleGAN and pix2pix "
        f"project ({', '.join(ARCHITECTURES)}), with names like model.1.weight or model.model.0.weight"
    )


def require_arch(layout: Layout, arch: str | None) -> None:
    """Compare an architecture that was asked for with the one in the file.

    Raises:
        ValueError: If the name is unknown, or the weights are of another architecture.
    """
    if arch is None or arch == layout.arch:
        return
    if arch not in ARCHITECTURES:
        raise ValueError(f"arch: got {arch!r}, allowed are {', '.join(ARCHITECTURES)}")
    if layout.kind == "resnet":
        key = f"model.{9 + layout.depth}.conv_block.1.weight"
    else:
        key = "model.model.1" + ".model.3" * (layout.depth - 2) + ".model.1.weight"
    raise ValueError(f"arch: got {arch!r}, but the file's last inner key is {key}, which fits {layout.arch}")


def _renamed(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """With our names."""
    return {re.sub(r"\b(model|conv_block)\.", "layers.", key): value for key, value in _stripped(state).items()}


def from_official(state: Mapping[str, Tensor], arch: str | None = None, dropout: float | None = None) -> Translator:
    """Our network with the weights of a file of the project.

    Running statistics, which old files hold for instance normalisation too, are kept where the network has a place for
    them; neither network uses them.

    Args:
        state: As the project saves it, with or without running statistics and `module.` before the names.
        arch: Architecture that is expected, one of `ARCHITECTURES`; None takes what the file says.
        dropout: The network's noise, on in evaluation too; None for the project's own, 0.5 in U-Nets and 0 in ResNets.

    Raises:
        ValueError: If the weights are of another architecture, or incomplete.
    """
    layout = read_layout(state)
    require_arch(layout, arch)
    given = _renamed(state)
    side = 2**layout.depth if layout.kind == "unet" else 256
    shapes = (layout.inputs, side, side), (layout.outputs, side, side)
    share = DEFAULT_DROPOUT[layout.kind] if dropout is None else dropout
    if layout.kind == "unet":
        network: Translator = UNetTranslator(*shapes, layout.channels, layout.depth, layout.norm, share)
    else:
        # the second convolution of a block is its layer 5, or 6 behind one of dropout
        place = any(re.search(r"conv_block\.6\.weight$", key) and value.ndim == 4 for key, value in state.items())
        network = ResNetTranslator(*shapes, layout.channels, layout.depth, norm=layout.norm, dropout=share)
        if place != bool(share):
            given = {_moved(key, place): value for key, value in given.items()}
    own = network.state_dict()
    weights = {key: value for key, value in given.items() if key in own or not key.endswith(STATISTICS)}
    missing = sorted(key for key in own.keys() - weights.keys() if not key.endswith(STATISTICS))
    wrong = sorted(key for key, value in weights.items() if key not in own or own[key].shape != value.shape)
    if missing or wrong:
        found = f"misses {missing[0]}" if missing else f"has no place for {wrong[0]}"
        raise ValueError(f"weights: the state dict looks like {layout.arch} but {found} (names as in our network)")
    network.load_state_dict(own | weights)
    return network


def _moved(key: str, has_dropout: bool) -> str:
    """Name of a layer of a residual block where dropout takes a place in it, or no longer does."""
    match = re.fullmatch(r"(layers\.\d+\.layers\.)(\d+)(\..+)", key)
    if match is None or int(match[2]) < 4:
        return key
    return f"{match[1]}{int(match[2]) + (-1 if has_dropout else 1)}{match[3]}"


def to_official(network: Translator) -> dict[str, Tensor]:
    """State dict of one of our networks under the project's names.

    Args:
        network: A `ResNetTranslator` or `UNetTranslator` with normalisation.

    Returns:
        Tensors on the CPU, that the project's own network loads strictly.

    Raises:
        ValueError: For another network.
    """
    state = {key: value.detach().cpu().clone() for key, value in network.state_dict().items()}
    if isinstance(network, ResNetTranslator):
        return {
            re.sub(r"^layers\.(\d+)\.layers\.", r"model.\1.conv_block.", key).replace("layers.", "model."): value
            for key, value in state.items()
        }
    if isinstance(network, UNetTranslator):
        return {key.replace("layers.", "model."): value for key, value in state.items()}
    raise ValueError(
        f"format: got 'pth', the format of the CycleGAN and pix2pix project, for a {type(network).__name__}, allowed "
        "are ResNetTranslator and UNetTranslator"
    )
