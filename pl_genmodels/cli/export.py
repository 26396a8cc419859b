"""Write a trained generator in a format that others read."""

from __future__ import annotations

import importlib
import inspect
import json
import warnings
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pl_genmodels.cli.translation import network_from, require_one
from pl_genmodels.data.pairs import check_direction
from pl_genmodels.networks import ConditionalGenerator, CoupledAutoencoders, OneWay

ENDINGS = {"pth": ".pth", "safetensors": ".safetensors", "onnx": ".onnx", "torch_export": ".pt2"}
PACKAGES = {"pth": (), "safetensors": ("safetensors",), "onnx": ("onnx", "onnxscript"), "torch_export": ()}


def export(
    format: str,
    out: str,
    ckpt_path: str | None = None,
    weights: str | None = None,
    arch: str | None = None,
    direction: str = "AtoB",
    dropout: float | None = None,
) -> None:
    """Write the generator of a checkpoint as a file for other programs.

    A translator takes pictures (B, C, H, W) in [-1, 1] whose sides are multiples of what it divides them by; another
    generator takes latents (B, n), one that is told a condition with this behind, (B, n + K). Averaged weights are
    written where there are some.

    Args:
        format: pth, weights as the CycleGAN and pix2pix project saves them; safetensors, weights under our own names;
            onnx or torch_export, the computation for any batch and size.
        out: The file.
        ckpt_path: Checkpoint of a model with a generator.
        weights: Instead of a checkpoint: a generator of the CycleGAN and pix2pix project, .pth or .safetensors.
        arch: Architecture of `weights`; by default what fits.
        direction: AtoB, or BtoA where a translation model has learnt the way back.
        dropout: Of `weights`: the network's noise; by default 0.5 in U-Nets and 0 in ResNets.
    """
    if format not in ENDINGS:
        raise ValueError(f"format: got {format!r}, allowed are {', '.join(ENDINGS)}")
    if Path(out).suffix != ENDINGS[format]:
        raise ValueError(f"out: got {out!r}, allowed for format {format} is a file ending in {ENDINGS[format]}")
    _require_packages(format)
    require_one(ckpt_path, weights)
    check_direction(direction)
    if weights is not None:
        network: Any = network_from(weights, arch, dropout)
    else:
        network = generator_of(str(ckpt_path), direction)
    network = network.eval().requires_grad_(False).cpu().float().to(memory_format=torch.contiguous_format)
    target = Path(out)
    target.parent.mkdir(parents=True, exist_ok=True)
    writers = {"pth": _write_pth, "safetensors": _write_safetensors, "onnx": _write_onnx, "torch_export": _write_graph}
    writers[format](network, target)
    print(target)


def _require_packages(format: str) -> None:
    for package in PACKAGES[format]:
        if importlib.util.find_spec(package) is None:
            raise ValueError(
                f"format: {format} needs the package {package}, which is not installed; pip install "
                "'pl_genmodels[export]'"
            )


def generator_of(ckpt_path: str, direction: str) -> nn.Module:
    """Generator of a checkpoint, with averaged weights if there are some.

    Raises:
        ValueError: If the model has none, or none in this direction.
    """
    from pl_genmodels.checkpoints import load

    model = load(ckpt_path)
    sampler = getattr(model, "sampler", None)
    if sampler is None:
        raise ValueError(f"export: the checkpoint is of a {type(model).__name__}, allowed are models with a generator")
    if isinstance(sampler, CoupledAutoencoders):
        return OneWay(sampler, direction)
    if not isinstance(sampler, nn.ModuleDict):
        if direction != "AtoB":
            raise ValueError(f"direction: got {direction!r} for a {type(model).__name__}, which translates nothing")
        return sampler
    if direction not in sampler:
        raise ValueError(
            f"direction: got {direction!r}, but the generators of a {type(model).__name__} are {', '.join(sampler)}"
        )
    return sampler[direction]


def _write_pth(network: nn.Module, path: Path) -> None:
    from pl_genmodels.networks.official import to_official

    torch.save(to_official(network), path)  # type: ignore[arg-type]


def _write_safetensors(network: nn.Module, path: Path) -> None:
    from safetensors.torch import save_file

    from pl_genmodels.specs import to_spec

    supplied = {name: json.dumps(getattr(network, name)) for name in getattr(network, "supplied", ())}
    told = {"network": json.dumps(to_spec(network)), **supplied}
    save_file({key: value.contiguous() for key, value in network.state_dict().items()}, path, metadata=told)


class _Core(nn.Module):
    """A network of one input; a translator without the padding of sides that no fixed graph can do."""

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        if isinstance(self.network, ConditionalGenerator):
            return self.network(x[:, : self.network.latent_dim], x[:, self.network.latent_dim :])
        return self.network.convert(x) if hasattr(self.network, "convert") else self.network(x)


def _require_one_input(network: Any) -> None:
    """Refuse what is computed from more than latents, a condition with these, or a picture.

    Raises:
        ValueError: For such a network.
    """
    inputs = [p for p in inspect.signature(network.forward).parameters.values() if p.default is p.empty]
    single = len(inputs) == 1 or isinstance(network, ConditionalGenerator)
    if not single or not (hasattr(network, "latent_dim") or hasattr(network, "convert")):
        raise ValueError(
            f"format: onnx and torch_export hold what one tensor goes into, which a {type(network).__name__} is not; "
            "allowed for it is safetensors"
        )


def _example(network: Any) -> tuple[Tensor, dict[int, Any]]:
    """An input and which of its sides are free."""
    batch = torch.export.Dim("batch")
    if not hasattr(network, "convert"):
        return torch.zeros(2, network.latent_dim + getattr(network, "condition_dim", 0)), {0: batch}
    shape = network.source_shape
    if len(shape) != 3:
        return torch.zeros(2, *shape), {0: batch}
    multiple = network.multiple
    sides = [multiple * max(2, side // multiple) for side in shape[1:]]
    rows, columns = torch.export.Dim("rows", min=1), torch.export.Dim("columns", min=1)
    return torch.zeros(2, shape[0], *sides), {0: batch, 2: multiple * rows, 3: multiple * columns}


def _graph(network: nn.Module) -> Any:
    _require_one_input(network)
    example, free = _example(network)
    from torch.fx.experimental import _config

    # a side of one pixel, as at the bottom of a U-Net, is a side like any other; torch 2.6 lacks the option
    known = hasattr(_config, "backed_size_oblivious")
    sizes: Any = _config.patch(backed_size_oblivious=True) if known else nullcontext()  # type: ignore[attr-defined]
    with torch.no_grad(), sizes:
        return torch.export.export(_Core(network).eval(), (example,), dynamic_shapes={"x": free})


def _write_graph(network: nn.Module, path: Path) -> None:
    torch.export.save(_graph(network), path)


def _write_onnx(network: nn.Module, path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(_graph(network), dynamo=True, verbose=False, optimize=True)
    assert program is not None
    program.save(str(path), external_data=False)
