"""BEGAN: autoencoders' errors held in balance (Berthelot et al. 2017)."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from pl_genmodels.layers.balance import Balance
from pl_genmodels.layers.ranks import mean_over_ranks
from pl_genmodels.losses import Wasserstein
from pl_genmodels.models.latent_gan import LatentGAN
from pl_genmodels.networks import (
    AutoencoderDiscriminator,
    Discriminator,
    Generator,
    MLPGenerator,
    Prior,
    UniformPrior,
)
from pl_genmodels.types import Batch, Paper, Terms


class BEGAN(LatentGAN):
    r"""The Wasserstein distance between errors of an autoencoder, with the weight of generated samples controlled.

    With L the error of D's autoencoder, D minimises $L(x) - k_t L(G(z))$, G minimises $L(G(z))$, and
    $k_{t+1} = k_t + \lambda_k (\gamma L(x) - L(G(z)))$, clipped to [0, 1] (section 3.5). Logged: `balance/k`, and
    `balance/convergence`, the measure $L(x) + |\gamma L(x) - L(G(z))|$. A low measure is no proof of diversity.

    The errors that steer k are those of the round's turns, over all ranks; with several critic steps of the last one.

    Args:
        image_shape: See `GenerativeModule`.
        generator: Called with the image shape.
        discriminator: Called with the image shape; its logit is minus the error.
        gamma: Diversity: E L(G(z)) / E L(x) at equilibrium, 0.3 to 0.7 in the paper.
        balance_rate: The paper's lambda_k.
        prior: Distribution of the latents.
    """

    paper = Paper(
        "BEGAN: Boundary Equilibrium Generative Adversarial Networks",
        "Berthelot, Schumm, Metz",
        2017,
        "https://arxiv.org/abs/1703.10717",
        "an autoencoder for discriminator, whose two errors are held in proportion; a measure of convergence",
    )

    def __init__(
        self,
        image_shape: tuple[int, ...] | None = None,
        generator: Callable[[tuple[int, ...]], Generator] = MLPGenerator,
        discriminator: Callable[[tuple[int, ...]], Discriminator] = partial(AutoencoderDiscriminator, power=1),
        gamma: float = 0.5,
        balance_rate: float = 0.001,
        prior: Prior = UniformPrior(),
        **kwargs: Any,
    ) -> None:
        super().__init__(
            image_shape, generator=generator, discriminator=discriminator, loss=Wasserstein(), prior=prior, **kwargs
        )
        self.balance = Balance(gamma, balance_rate)

    def discriminator_terms(self, batch: Batch, generated: Batch) -> Terms:
        """L(x) and -k L(G(z))."""
        real, fake = self.augment(batch["image"]), self.augment(generated["image"])
        terms = {"real": -self.judge(real), "fake": self.balance.k.to(real.dtype) * self.judge(fake)}
        for penalty in self.penalties:
            terms[penalty.name] = penalty(self.discriminator, real, fake)
        return terms

    def training_step(self, batch: Any, batch_idx: int) -> None:
        """A round, and a step of the balance if the generator has played."""
        before = self.generator_updates
        super().training_step(batch, batch_idx)
        if self.generator_updates > before:
            self.balance.update(self._error("discriminator", "real"), self._error("generator", "adversarial"))
        if self.log_due:
            self.log_dict({"balance/k": self.balance.k, "balance/convergence": self.balance.measure})

    def _error(self, player: str, term: str) -> Tensor:
        """Mean over all ranks of a term of a player's last turn."""
        parts = [part[term].mean() for part in self.last_terms[player]]  # each with its share of the batch
        return mean_over_ranks(torch.stack(parts).sum().to(self.balance.k.dtype))
