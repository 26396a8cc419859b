"""What `evaluate` says of a model with a likelihood, or of its codes, besides what its samples look like."""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from pl_genmodels.data import ImageData, to_float
from pl_genmodels.data.factors import FactorData
from pl_genmodels.losses import PixelLikelihood
from pl_genmodels.metrics.isolation import undisturbed
from pl_genmodels.models.latent_grids import given_label
from pl_genmodels.types import Batch

MEASURES = ("likelihood", "probe", "disentanglement")
FIDELITY = ("fid", "kid", "isc", "prc", "ams")

MAX_COMBINATIONS = 10_000  # random ones that are encoded where there are more
MAX_PROBED = 20_000  # codes that the linear probe is fitted to

DRAWN = {"none": "", "dynamic": "-drawn", "static": "-drawn", "threshold": "-threshold"}


def chosen_measures(
    model: Any, data: ImageData, metrics: list[str] | None, num_importance_samples: int | None
) -> list[str]:
    """Those of `MEASURES` that are asked for, or that model and data allow.

    Raises:
        ValueError: For one that they do not allow, or importance samples for a model that takes none.
    """
    takes = importance_sampled(model)
    if num_importance_samples is not None and (not takes or num_importance_samples < 1):
        allowed = "allowed is 1 or more" if takes else f"but a {type(model).__name__} has no bound to sample"
        raise ValueError(f"num_importance_samples: got {num_importance_samples}, {allowed}")
    name = type(model).__name__
    encodes, labelled = encoder_of(model) is not None, data.num_classes is not None
    possible = {
        "likelihood": (_likelihood_of(model) is not None, f"a {name} has no likelihood"),
        "probe": (encodes and labelled, f"{name} has no encoder" if not encodes else "the data have no labels"),
        "disentanglement": (
            encodes and isinstance(data, FactorData),
            f"{name} has no encoder" if not encodes else "the data have no known factors",
        ),
    }
    if metrics is None:
        wanted = [measure for measure in MEASURES if possible[measure][0]]
        return wanted if not takes or num_importance_samples else [one for one in wanted if one != "likelihood"]
    for measure in metrics:
        if measure in possible and not possible[measure][0]:
            raise ValueError(f"metrics: got {measure!r}, but {possible[measure][1]}")
    return [measure for measure in metrics if measure in MEASURES]


def encoder_of(model: Any) -> Any:
    """What turns images into codes: `encode`, or `represent` where codes are read off images but make none."""
    return getattr(model, "encode", None) or getattr(model, "represent", None)


def _likelihood_of(model: Any) -> Any:
    return getattr(model, "log_likelihood", None) or getattr(model, "log_prob", None)


def importance_sampled(model: Any) -> bool:
    """Whether what a model says of its likelihood is a bound that samples tighten."""
    function = _likelihood_of(model)
    return function is not None and "num_importance_samples" in inspect.signature(function).parameters


def model_batches(model: Any, data: ImageData, loader: Iterable[Any]) -> Iterable[Batch]:
    """Batches as the model reads them, on its device, with a progress bar where it takes long."""
    for batch in tqdm(loader, delay=2, leave=False, disable=None):
        moved = {key: value.to(model.device) if isinstance(value, Tensor) else value for key, value in batch.items()}
        yield data.on_after_batch_transfer(moved, 0)


def likelihood(
    model: Any, data: ImageData, split: str, num_importance_samples: int | None, seed: int
) -> dict[str, float]:
    """Mean negative log-likelihood of a split.

    Args:
        model: With `log_likelihood` or `log_prob`.
        data: Whose images.
        split: "train", "val" or "test".
        num_importance_samples: K of the bound; 500 by default, None for exact likelihoods.
        seed: Of the importance samples.

    Returns:
        In nats an image, and in bits per dimension where values are discrete: for a probability of discrete values as
        it is, for a density over [-1, 1] with log2(L / 2) bits for the L levels that were dequantised. Keys name what
        it is: exact, or a bound with K samples; given labels; how images were made black and white.
    """
    function = _likelihood_of(model)
    options: dict[str, Any] = {}
    kind = "exact"
    if importance_sampled(model):
        options["num_importance_samples"] = num_importance_samples or 500
        kind = f"iw{options['num_importance_samples']}"
    total, count, conditional = 0.0, 0, False
    with undisturbed(model.device, seed):
        for batch in model_batches(model, data, data.evaluation_loader(split)):
            label = given_label(function, model, batch)
            conditional |= bool(label)
            nats = function(batch["image"], **options, **label)
            total, count = total - float(nats.double().sum()), count + len(nats)
    given = "-given-label" if conditional else ""
    where = f"{kind}{given}{DRAWN[data.binarize]}-{split}{count}"
    found = {f"nll-nats-{where}": total / count}
    size = math.prod(model.image_shape)
    if isinstance(getattr(model, "likelihood", None), PixelLikelihood):
        found[f"nll-bits-per-dim-{where}"] = total / count / size / math.log(2)
    elif data.dequantize and data.num_levels:
        levels = data.num_levels
        bits = total / count / size / math.log(2) + math.log2(levels / 2)
        found[f"nll-bits-per-dim-dequantized{levels}-{where}"] = bits
    return found


def codes_of(model: Any, data: ImageData, loader: Iterable[Any]) -> tuple[Tensor, dict[str, Tensor]]:
    """Codes of images, and what else the batches say of them.

    Args:
        model: With `encode` or `represent`.
        data: That makes batches into what the model reads.
        loader: Of batches as the data module's loaders give them.

    Returns:
        Codes, float32 (N, latent_dim), and entries such as `label` and `factors`, each (N, ...), on the CPU.
    """
    codes, others, encode = [], [], encoder_of(model)
    with undisturbed(model.device, 0):
        for batch in model_batches(model, data, loader):
            codes.append(encode(batch["image"], **given_label(encode, model, batch)).float().cpu())
            others.append({key: batch[key].cpu() for key in ("label", "factors") if key in batch})
    return torch.cat(codes), {key: torch.cat([part[key] for part in others]) for key in others[0]}


def probe(model: Any, data: ImageData, split: str) -> dict[str, float]:
    """Accuracy of a linear classifier of codes (scikit-learn's logistic regression, standardised codes).

    Args:
        model: With `encode`.
        data: With labels. The classifier is fitted to the training images, at most 20,000, evenly taken.
        split: That it is judged on; for "train" it is "test".

    Returns:
        The share of right answers.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    judged = "test" if split == "train" else split
    codes, entries = codes_of(model, data, data.evaluation_loader("train"))
    chosen = torch.linspace(0, len(codes) - 1, min(len(codes), MAX_PROBED)).long()
    classifier = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    classifier.fit(codes[chosen].numpy(), entries["label"][chosen].numpy())
    others, known = codes_of(model, data, data.evaluation_loader(judged))
    accuracy = float(classifier.score(others.numpy(), known["label"].numpy()))
    return {f"linear-probe-train{len(chosen)}-{judged}{len(others)}": accuracy}


def disentanglement(model: Any, data: FactorData, seed: int) -> dict[str, float]:
    """Scores of codes against known factors, of all combinations or of 10,000 random ones.

    Args:
        model: With `encode`.
        data: With factors.
        seed: Of the choice and of the scores' own draws.

    Returns:
        See `pl_genmodels.metrics.disentanglement`.
    """
    from pl_genmodels.metrics.disentanglement import disentanglement as scores

    number = data.num_combinations
    indices = torch.randperm(number, generator=torch.Generator().manual_seed(seed))[:MAX_COMBINATIONS]
    codes, factors = [], data.factors_of(indices)
    with undisturbed(model.device, seed):
        for part in tqdm(indices.split(data.batch_size), delay=2, leave=False, disable=None):
            images = to_float(data.images_of(part)).to(model.device)
            codes.append(encoder_of(model)(images).float().cpu())
    categorical = [data.factor_names.index(name) for name in data.categorical]
    found = scores(torch.cat(codes), factors, categorical=categorical, seed=seed)
    return {f"{name}-factors{len(indices)}": value for name, value in found.items()}
