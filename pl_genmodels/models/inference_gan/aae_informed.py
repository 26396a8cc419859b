"""Adversarial autoencoder whose codes have a place for each label (Makhzani et al. 2016)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pl_genmodels.losses.precision import at_least_single
from pl_genmodels.models.mixture_autoencoder import MixtureAutoencoder
from pl_genmodels.networks import ConcatDiscriminator, ConditionalDiscriminator, MixturePrior, RingPrior
from pl_genmodels.types import Batch, Paper, Terms

HIDDEN = -1  # the label of a sample whose class nobody tells


class AAEInformed(MixtureAutoencoder):
    r"""D is told the mode: real are pairs (draw of mode k, k), fake are pairs (E(x), label of x) (section 2.3).

    So the codes of label k come to follow mode k of the prior. A sample whose label is -1 has a one-hot vector's last
    entry, "unknown", and is compared with draws of the whole prior, told the same.

    Departs from the paper: a batch's draws are of the modes of its own labels, so that both sides hold equally many of
    each; there they are drawn with even odds.

    Args:
        image_shape: See `GenerativeModule`.
        discriminator: Called with the shape of a code and the number of modes and one more.
        prior: With a mode for each label.
        **kwargs: See `AdversarialAutoencoder`.
    """

    paper = Paper(
        "Adversarial Autoencoders",
        "Makhzani et al.",
        2016,
        "https://arxiv.org/abs/1511.05644",
        "the discriminator of codes knows labels, so that each has a mode of the prior for its own",
    )

    discriminator: ConditionalDiscriminator

    def __init__(
        self,
        image_shape: tuple[int, ...] | None = None,
        *,
        discriminator: Callable[[tuple[int, ...], int], ConditionalDiscriminator] = ConcatDiscriminator,
        prior: MixturePrior = RingPrior(),
        **kwargs: Any,
    ) -> None:
        super().__init__(image_shape, discriminator=discriminator, prior=prior, **kwargs)  # type: ignore[arg-type]

    def judges(self, discriminator: Any) -> nn.Module:
        """Make the discriminator of codes with what is told of them."""
        return discriminator((self.generator.latent_dim,), self.prior.num_modes + 1)

    def read_batch(self, batch: Any) -> Batch:
        """A batch by name.

        Raises:
            ValueError: If there are no labels, or one of the first has no mode.
        """
        named = super().read_batch(batch)
        if "label" not in named:
            raise ValueError(f"batch: has keys {sorted(named)}, but an AAEInformed needs 'label' too")
        label = named["label"]
        if self.images_seen == 0 and bool(((label < HIDDEN) | (label >= self.prior.num_modes)).any()):
            raise ValueError(
                f"prior: got one of {self.prior.num_modes} modes, but there are labels from {int(label.min())} to "
                f"{int(label.max())}; allowed are 0 to {self.prior.num_modes - 1}, and {HIDDEN} for an unknown one"
            )
        return named

    def draw(self, batch: Batch) -> Batch:
        """Add draws of the labels' modes, and what D is told of them and of the codes."""
        label, number = batch["label"], self.prior.num_modes
        known = label != HIDDEN
        mode = torch.where(known, label, torch.randint(number, label.shape, device=label.device))
        noise = self.prior.noise(len(label), self.generator.latent_dim, None, label.device)
        dtype = next(self.generator.parameters()).dtype
        told = F.one_hot(torch.where(known, label, number), number + 1).to(dtype)
        return {**batch, "latent": self.prior.of_modes(noise, mode).to(dtype), "told": told}

    def judge_codes(self, codes: Tensor, batch: Batch) -> Terms:
        """Logits of codes with what is told of them, in at least single precision, (B, latent_dim) to (B,)."""
        return {"adversarial": at_least_single(self.discriminator(codes, batch["told"]))}
