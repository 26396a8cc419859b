"""Translation of faces with two experts, who learn alone first: one of how a head is, and one of whose it is."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.optim import Optimizer

from pl_genmodels.losses.precision import at_least_single
from pl_genmodels.models.engine import evaluating, stored_for
from pl_genmodels.models.optimizers import OnePassAdam
from pl_genmodels.models.translating import TranslationModule
from pl_genmodels.networks import CASIAEncoder, Classifier, Encoder, EncoderClassifier
from pl_genmodels.types import Batch, ImageShape, Terms

NEEDED = ("target", "label", "coefficients", "visible")


class GuidedTranslation(TranslationModule):
    r"""A generator that a regressor R tells the coefficients p of the head in a source, and a recogniser C of people.

    R minimises $(R(x) - p^*)^T W (R(x) - p^*)$, with a diagonal W. C minimises the cross-entropy of who is in sources,
    targets and translations. R learns alone for `regressor_steps` batches, then C alone for `recogniser_steps`, then
    all players together.

    Args:
        source_shape: See `TranslationModule`.
        target_shape: See `TranslationModule`.
        num_coefficients: Of a head; a batch has `coefficients`, (B, K), each of the order of 1.
        coefficient_weights: W, a weight for each coefficient; all 1 by default.
        regressor: R, called with the source's shape and the number of coefficients.
        recogniser: C, called with the target's shape; a batch's `label` is one of its classes.
        regressor_steps: Batches on which R learns alone.
        recogniser_steps: Batches on which C learns alone.
        optimizer_regressor: Called with R's parameters.
        optimizer_recogniser: Called with C's parameters.
        **kwargs: Of `TranslationModule`.

    Raises:
        ValueError: For counts that are too small, or other than a weight of 0 or more for each coefficient.
    """

    players: ClassVar[tuple[str, ...]] = ("regressor", "recogniser", "discriminator", "generator")
    coefficient_weights: Tensor
    regressor: Encoder
    recogniser: Classifier

    def __init__(
        self,
        source_shape: tuple[int, ...] | None = None,
        target_shape: tuple[int, ...] | None = None,
        *,
        num_coefficients: int,
        coefficient_weights: Sequence[float] | None = None,
        regressor: Callable[[tuple[int, ...], int], Encoder] = partial(CASIAEncoder, linear=320),
        recogniser: Callable[[tuple[int, ...]], Classifier] = partial(EncoderClassifier, encoder=CASIAEncoder),
        regressor_steps: int = 1000,
        recogniser_steps: int = 1000,
        optimizer_regressor: Callable[[Iterable], Optimizer] = OnePassAdam,
        optimizer_recogniser: Callable[[Iterable], Optimizer] = OnePassAdam,
        **kwargs: Any,
    ) -> None:
        steps = {"regressor_steps": (regressor_steps, 0), "recogniser_steps": (recogniser_steps, 0)}
        for name, (value, least) in {"num_coefficients": (num_coefficients, 1), **steps}.items():
            if value < least:
                raise ValueError(f"{name}: got {value}, allowed is {least} or more")
        weights = [1.0] * num_coefficients if coefficient_weights is None else list(coefficient_weights)
        if len(weights) != num_coefficients or min(weights) < 0:
            raise ValueError(f"coefficient_weights: got {weights}, allowed are {num_coefficients} numbers of 0 or more")
        self.num_coefficients, self._importance = num_coefficients, weights
        self.regressor_steps, self.recogniser_steps = regressor_steps, recogniser_steps
        self._experts = (regressor, recogniser)
        super().__init__(source_shape, target_shape, **kwargs)
        self.optimizer_factories |= {"regressor": optimizer_regressor, "recogniser": optimizer_recogniser}

    # ---- networks and turns

    def build(self, image_shape: ImageShape) -> None:
        """Create the experts."""
        regressor, recogniser = self._experts
        self.regressor = regressor(self.source_shape or image_shape, self.num_coefficients)
        self.recogniser = recogniser(image_shape)
        for network in (self.regressor, self.recogniser):
            stored_for(image_shape, network)
        self.register_buffer("coefficient_weights", torch.tensor(self._importance), persistent=False)

    @property
    def stage(self) -> str:
        """Who learns on this batch: the regressor or the recogniser alone, or all."""
        turns = self.critic_turns if self.generator_updates == 0 else 0  # 0 outside of a round, where nobody waits
        if 0 < turns <= self.regressor_steps:
            return "regressor"
        return "recogniser" if 0 < turns <= self.regressor_steps + self.recogniser_steps else "all"

    def plays(self, player: str) -> bool:
        """First R, then C, then everybody."""
        return self.stage in (player, "all")

    def critic_steps_at(self, update: int) -> int:
        """The first update waits for R and C."""
        alone = self.regressor_steps + self.recogniser_steps
        return super().critic_steps_at(update) + (alone if update == 0 else 0)

    # ---- training

    def read_batch(self, batch: Any) -> Batch:
        """A batch by name.

        Raises:
            ValueError: If something that training needs is missing, or does not fit.
        """
        named = super().read_batch(batch)
        if not self.trainer.training:
            return named
        if missing := [key for key in NEEDED if key not in named]:
            raise ValueError(
                f"batch: has keys {sorted(named)}, but {type(self).__name__} needs {' and '.join(missing)} too"
            )
        if self.images_seen == 0:
            low, high = (int(value) for value in named["label"].aminmax())
            number = self.recogniser.num_classes
            if low < 0 or high >= number:
                raise ValueError(f"label: got numbers from {low} to {high}, allowed are 0 to {number - 1}")
            if named["coefficients"].shape[1:] != (self.num_coefficients,):
                raise ValueError(
                    f"num_coefficients: got {self.num_coefficients}, but the batch's coefficients have shape "
                    f"{tuple(named['coefficients'].shape)}, allowed are (B, num_coefficients)"
                )
        return named

    def generate(self, batch: Batch) -> Batch:
        """The batch's sources as targets, while there is somebody to see them."""
        waits = self.stage != "all" and self.critic_turns < self.critic_steps_at(0)
        return {} if waits else {"target": self(batch["source"])}

    def regress(self, images: Tensor) -> Tensor:
        """Coefficients of heads in at least single precision, in evaluation mode, (B, C, H, W) to (B, K).

        Raises:
            ValueError: For pictures of another size.
        """
        if tuple(images.shape[1:]) != self.source_shape:
            shape = ", ".join(map(str, self.source_shape or ()))
            raise ValueError(f"images: got shape {tuple(images.shape)}, allowed are (B, {shape})")
        with evaluating(self.regressor):
            return at_least_single(self.regressor(images))

    def convert(self, networks: Any, images: Tensor, direction: str) -> Tensor:
        """The generator is told what the regressor says, as a constant."""
        return networks[direction](images, self.regress(images).to(images.dtype))

    def recognise(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Logits of identities and features in at least single precision, (B, N) and (B, F)."""
        logits, features = self.recogniser(images, with_features=True, with_classes=True)
        return at_least_single(logits), at_least_single(features[-1])

    def regressor_terms(self, batch: Batch, generated: Batch) -> Terms:
        """How far the coefficients are from the true ones."""
        errors = at_least_single(self.regressor(batch["source"])) - at_least_single(batch["coefficients"])
        return {"regression": (errors.square() * self.coefficient_weights).sum(1)}

    def recogniser_terms(self, batch: Batch, generated: Batch) -> Terms:
        """Who is in sources, in targets and in translations."""
        shown = {"source": batch["source"], "target": batch["target"]}
        shown |= {"fake": generated["target"]} if generated else {}
        return {name: self.unrecognised(self.recognise(images)[0], batch) for name, images in shown.items()}

    @staticmethod
    def unrecognised(logits: Tensor, batch: Batch) -> Tensor:
        """Cross-entropy of who it is, (B, N) to (B,)."""
        return F.cross_entropy(logits, batch["label"], reduction="none")
