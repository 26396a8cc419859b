"""Unrolled GAN (Metz et al. 2017)."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.func import functional_call

from pl_genmodels.layers.ranks import mean_over_ranks
from pl_genmodels.losses import AdversarialLoss, Minimax
from pl_genmodels.losses.precision import at_least_single, exact_gradients
from pl_genmodels.models.latent_gan import LatentGAN
from pl_genmodels.models.lookahead import Lookahead
from pl_genmodels.networks import Discriminator, Generator, MLPDiscriminator, MLPGenerator
from pl_genmodels.types import Batch, Paper, Terms


class UnrolledGAN(LatentGAN):
    r"""The generator plays against the discriminator that its samples will have made in K steps.

    $\theta_D^{k+1} = \theta_D^k - \eta\,\mathrm{step}(\nabla L_D(\theta_G, \theta_D^k))$ by the discriminator's own
    optimiser, moments included (equation 6). G minimises $-L_D(\theta_G, \theta_D^K)$, differentiated through the steps
    (equation 8); the discriminator itself makes one ordinary step a round and keeps it. All steps of a round are on the
    same batch, and in at least single precision. K = 0 is the minimax game.

    Args:
        image_shape: See `GenerativeModule`.
        generator: See `LatentGAN`.
        discriminator: See `LatentGAN`; without batch normalisation in training, whose statistics would be those of K
            discriminators that never were.
        loss: See `LatentGAN`; the generator minimises minus the discriminator's.
        unrolled_steps: K.
        **kwargs: See `LatentGAN`; no penalties, which would be differentiated three times.

    Raises:
        ValueError: For a negative K, penalties or a larger batch of the generator; when fitting starts, for an
            optimiser of the discriminator whose step cannot be differentiated.
    """

    paper = Paper(
        "Unrolled Generative Adversarial Networks",
        "Metz et al.",
        2017,
        "https://arxiv.org/abs/1611.02163",
        "the generator's gradient goes through steps that the discriminator is about to make",
    )

    def __init__(
        self,
        image_shape: tuple[int, ...] | None = None,
        generator: Callable[[tuple[int, ...]], Generator] = MLPGenerator,
        discriminator: Callable[[tuple[int, ...]], Discriminator] = MLPDiscriminator,
        loss: AdversarialLoss = Minimax(),
        unrolled_steps: int = 5,
        **kwargs: Any,
    ) -> None:
        if unrolled_steps < 0:
            raise ValueError(f"unrolled_steps: got {unrolled_steps}, allowed is 0 or more")
        if kwargs.get("penalties"):
            raise ValueError(
                "penalties: got some, allowed are none with unrolled steps, which would differentiate them"
            )
        if (factor := kwargs.get("generator_batch_factor", 1)) > 1:
            raise ValueError(
                f"generator_batch_factor: got {factor}, allowed is 1 with unrolled steps, which see real samples too"
            )
        super().__init__(image_shape, generator=generator, discriminator=discriminator, loss=loss, **kwargs)
        self.unrolled_steps = unrolled_steps

    def replicated_players(self) -> set[str]:
        """A gradient of the discriminator's gradient needs it whole."""
        return {"discriminator"}

    def on_train_start(self) -> None:
        """Find out now whether the discriminator's step can be differentiated."""
        super().on_train_start()
        self.lookahead()

    def lookahead(self) -> Lookahead:
        """The discriminator and its optimiser as they are."""
        return Lookahead(self.discriminator, self._optimizer_of("discriminator").optimizer)

    def generator_terms(self, batch: Batch, generated: Batch) -> Terms:
        """Minus the discriminator's loss after its next steps."""
        real, fake = (at_least_single(self.augment(images["image"])) for images in (batch, generated))
        with exact_gradients(real.device.type):
            ahead, objective = self.lookahead(), copy.deepcopy(self.loss)  # one that remembers logits forgets these
            for _ in range(self.unrolled_steps):
                ahead.step(self._gradients(objective, ahead.values, real, fake))
            loss = self._discriminator_loss(objective, ahead.values, real, fake)
        return {"adversarial": -loss}

    def _discriminator_loss(
        self, objective: AdversarialLoss, values: dict[str, Tensor], real: Tensor, fake: Tensor
    ) -> Tensor:
        """Of a discriminator with the given parameters; the buffers of the actual one stay as they are."""
        buffers = {name: at_least_single(buffer).clone() for name, buffer in self.discriminator.named_buffers()}
        logits = [functional_call(self.discriminator, {**buffers, **values}, (images,)) for images in (real, fake)]
        return objective.discriminator(*logits)

    def _gradients(
        self, objective: AdversarialLoss, values: dict[str, Tensor], real: Tensor, fake: Tensor
    ) -> dict[str, Tensor]:
        """Of the mean loss over all ranks with respect to the parameters."""
        loss = self._discriminator_loss(objective, values, real, fake).mean()
        gradients = torch.autograd.grad(loss, list(values.values()), create_graph=True)
        flat = mean_over_ranks(torch.cat([gradient.flatten() for gradient in gradients]))
        parts = flat.split([gradient.numel() for gradient in gradients])
        return {name: part.view_as(gradient) for (name, part, gradient) in zip(values, parts, gradients, strict=True)}
