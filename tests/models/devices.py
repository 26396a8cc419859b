"""What every config keeps on a GPU, tried on one that is pretended: all tensors lie on it, and no step waits for it."""

from __future__ import annotations

import inspect
from unittest import mock

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter

from pl_genmodels.models import finite
from pl_genmodels.models.adversarial import AdversarialModule
from pl_genmodels.models.latent_grids import given_label
from tests.models.harness import Recorder, SaveAt, fresh, trainer
from tests.pretended_cuda import COPIES, CUDA, WITH_INDICES, Steps, pretended_cuda, trainer_options

BATCHES, BATCH = 5, 4
CRITIC_STEPS, FOR_EVER = 3, 1000
SHORT = {  # stages of training, that all are to be reached, by the attribute that says how long one is
    "autoencoder_updates": 2,
    "component_updates": 2,
    "curriculum_updates": 2,
    "gan_updates": 2,
    "recogniser_steps": 1,
    "regressor_steps": 1,
    "search_steps": 2,
    "stage_updates": 2,
    "strong_after": 2,
}

# Functions in which Python waits for the device in a step, by system, and why.
WAITS = {
    "adagan": {"adagan._mixed": "each kept generator makes its own samples alone, so their number has to be known"},
    "vae_gan": {"balance.who_trains": "the costs of a batch say who of the two players learns from it"},
}

# What one does with a trained model, by name; arguments without a default are taken by name from `arguments`.
VERBS = (
    "sample encode decode reconstruct translate panels swap rotate complete classify cluster represent "
    "specify read locate edits recognise preserve describe votes tags log_prob log_likelihood sample_pairs "
    "class_logits regress likely_labels most_likely prior_of predict_step"
)


def stays_on_its_device(built, folder):
    """A run, its continuation in mixed precision and all verbs leave no tensor on the CPU, and no step waits."""
    path, flags = folder / "epoch.ckpt", {"limit_train_batches": BATCHES, "limit_val_batches": 1}
    flags |= {"num_sanity_val_steps": 0, "log_every_n_steps": BATCHES}
    with pretended_cuda() as waited, mock.patch.object(finite, "FOLD_AFTER", 2):
        for epochs, precision, ckpt_path in ((1, "32-true", None), (2, "bf16-mixed", path)):
            model, data, stateful = shortened(fresh(built))
            callbacks = [*stateful, SaveAt(BATCHES, path), Steps()]
            flags |= {"max_epochs": epochs, "precision": precision, **trainer_options()}
            runner = trainer(folder, logger=Recorder(), callbacks=callbacks, **flags)
            runner.fit(model, data, ckpt_path=ckpt_path, weights_only=None if ckpt_path is None else True)
        batch = next(iter(data.train_dataloader()))
        batch = data.on_after_batch_transfer({key: value.to(CUDA) for key, value in batch.items()}, 0)
        model.to(CUDA).eval()
        for name, result in verbs(model, batch).items():
            for value in tree_iter(result):
                assert not isinstance(value, torch.Tensor) or value.is_cuda, f"{name} leaves the device"
    assert waited.keys() == WAITS.get(model.stem(), {}).keys(), waited


class OneDevice(TorchDispatchMode):
    """Refuses operations on several devices, which products of the meta device do not."""

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if function not in WITH_INDICES | COPIES:
            kinds = {x.device for x in tree_iter((args, kwargs)) if isinstance(x, torch.Tensor) and x.ndim}
            assert len(kinds) < 2, f"{function} on {kinds}"
        return function(*args, **kwargs)


def shortened(built):
    """All stages of training within a few batches."""
    for name, length in SHORT.items():
        if getattr(built.model, name, 0) > length:
            setattr(built.model, name, length)
    if isinstance(built.model, AdversarialModule):
        steps_at = type(built.model).critic_steps_at
        cut = lambda steps: steps if steps > FOR_EVER else min(steps, CRITIC_STEPS)
        built.model.critic_steps_at = lambda update: cut(steps_at(built.model, update))
    return built


def verbs(model, batch):
    """Everything that a model can do with a batch, by name."""
    given, found = arguments(model, batch), {}
    for name in (name for name in VERBS.split() if hasattr(type(model), name)):
        if lacks(model, name):
            continue
        method = getattr(model, name)
        if name == "decode":
            given["latents"] = found["encode"] if "encode" in found else model.draw_latents(BATCH)
        parameters = inspect.signature(method).parameters.values()
        needed = [each.name for each in parameters if each.default is each.empty and each.kind is not each.VAR_KEYWORD]
        told = given_label(method, model, batch) if name != "sample" else {}
        found[name] = method(**{key: given[key] for key in needed}, **told)
    return found


def lacks(model, name):
    """Whether a model has a verb but not in the form that its config describes."""
    without_classes = name in ("classify", "class_logits") and getattr(model, "num_classes", 1) == 0
    no_way_back = name == "reconstruct" and "BtoA" not in getattr(model, "directions", ("BtoA",))
    return without_classes or no_way_back


def arguments(model, batch):
    """What verbs are given."""
    image = batch["image"] if "image" in batch else batch["source"]
    found = {**batch, "image": image, "images": image, "other": image.flip(0), "num_samples": BATCH, "pose": 0}
    if image.ndim == 4:
        found["mask"] = torch.arange(image.shape[2], device=CUDA)[:, None].expand(image.shape[2:]) < 3
    if getattr(model, "condition", None) is not None:
        found["values"] = batch.get(model.condition.entry)
    if "features" in batch:
        found["vectors"] = torch.randn(30, *model.image_shape, device=CUDA)
    return {**found, "batch": batch, "batch_idx": 0}
