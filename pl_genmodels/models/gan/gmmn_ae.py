"""Generative moment matching over the codes of an autoencoder (Li et al. 2015)."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from pl_genmodels.losses import GaussianSum, MomentMatching, per_sample, squared_error
from pl_genmodels.losses.precision import at_least_single
from pl_genmodels.models.engine import evaluating
from pl_genmodels.models.latent_generator import DECODE_BATCH, LatentGenerator
from pl_genmodels.models.optimizers import GANAdam
from pl_genmodels.networks import Decoder, Encoder, Generator, MLPDecoder, MLPEncoder, MLPGenerator, Prior, UniformPrior
from pl_genmodels.types import Batch, ImageShape, Paper, Terms


class GMMNAE(LatentGenerator):
    r"""An autoencoder learns codes, and G to make codes like them; a sample is a decoded code of G's.

    G minimises the maximum mean discrepancy of its codes from those of real samples, in which distances mean more than
    between pixels (section 5).

    Departs from the paper: G learns from the first update on, first from codes that still change, where the paper
    trains the autoencoder before, layer by layer, with dropout; codes are linear, not sigmoids.

    Args:
        image_shape: See `GenerativeModule`.
        code_dim: Length of a code.
        generator: Called with the shape of a code, (code_dim,).
        encoder: Called with the image shape and the length of a code.
        decoder: Called with the image shape and the length of a code.
        loss: The discrepancy of codes and its kernel.
        autoencoder_updates: Updates after which the autoencoder stays as it is.
        prior: Distribution of the latents.
        optimizer_generator: Called with the generator's parameters.
        optimizer_autoencoder: Called with the encoder's and decoder's parameters.
        scheduler_generator: Called with the generator's optimiser.
        scheduler_interval: Whether the schedule advances by `step` or `epoch`.
        compile: See `GenerativeModule`.

    Raises:
        ValueError: For a code without length, or no update of the autoencoder.
    """

    paper = Paper(
        "Generative Moment Matching Networks",
        "Li, Swersky, Zemel",
        2015,
        "https://arxiv.org/abs/1502.02761",
        "moment matching of codes, which an autoencoder learns and decodes",
    )
    players = ("autoencoder", "generator")

    def __init__(
        self,
        image_shape: tuple[int, ...] | None = None,
        code_dim: int = 16,
        generator: Callable[[tuple[int, ...]], Generator] = MLPGenerator,
        encoder: Callable[[tuple[int, ...], int], Encoder] = MLPEncoder,
        decoder: Callable[[tuple[int, ...], int], Decoder] = MLPDecoder,
        loss: MomentMatching = MomentMatching(GaussianSum((1.0, 2.0, 4.0, 8.0))),
        autoencoder_updates: int = 2000,
        prior: Prior = UniformPrior(),
        optimizer_generator: Callable[[Iterable], Optimizer] = GANAdam,
        optimizer_autoencoder: Callable[[Iterable], Optimizer] = GANAdam,
        scheduler_generator: Callable[[Optimizer], LRScheduler] | None = None,
        scheduler_interval: str = "step",
        compile: bool = False,
    ) -> None:
        for name, count in (("code_dim", code_dim), ("autoencoder_updates", autoencoder_updates)):
            if count < 1:
                raise ValueError(f"{name}: got {count}, allowed is 1 or more")
        super().__init__(
            image_shape,
            {"autoencoder": optimizer_autoencoder, "generator": optimizer_generator},
            {"generator": scheduler_generator},
            scheduler_interval,
            compile=compile,
        )
        self.code_dim, self.autoencoder_updates = code_dim, autoencoder_updates
        self.loss, self.prior = loss, prior
        self._parts = (generator, encoder, decoder)
        if self.image_shape is not None:
            self.configure_model()

    def build(self, image_shape: ImageShape) -> None:
        """Create the three networks."""
        generator, encoder, decoder = self._parts
        self.generator = generator((self.code_dim,))
        self.encoder: nn.Module = encoder(image_shape, self.code_dim)
        self.decoder: nn.Module = decoder(image_shape, self.code_dim)

    def player_networks(self, player: str) -> list[nn.Module]:
        """Encoder and decoder are one player's."""
        return [self.encoder, self.decoder] if player == "autoencoder" else [self.generator]

    def plays(self, player: str) -> bool:
        """The autoencoder learns for a number of updates."""
        return self.generator_updates < self.autoencoder_updates

    def decode(self, latents: Tensor) -> Tensor:
        """Samples for latents, in evaluation mode and without gradient, (B, latent_dim) to (B, *image_shape)."""
        with evaluating(self.sampler, self.decoder):
            dtype = next(self.decoder.parameters()).dtype
            parts = latents.split(DECODE_BATCH)
            kind = next(self.sampler.parameters()).dtype
            samples = torch.cat([self.decoder(self.sampler(part.to(kind)).to(dtype)) for part in parts])
        return at_least_single(samples if samples.ndim == 2 else samples.clamp(-1, 1))

    def forward(self, latents: Tensor) -> Tensor:
        """Samples for latents with gradient, in the current mode, from the trained (not averaged) generator."""
        return self.decoder(self.generator(latents))

    def generate(self, batch: Batch) -> Batch:
        """Codes from the trained generator."""
        return {"code": self.generator(batch["latent"])}

    def autoencoder_terms(self, batch: Batch, generated: Batch) -> Terms:
        """Squared error of the reconstruction, a mean over values."""
        image = batch["image"]
        again = at_least_single(self.decoder(self.encoder(image)))
        return {"reconstruction": per_sample(squared_error(again, at_least_single(image)))}

    def generator_terms(self, batch: Batch, generated: Batch) -> Terms:
        """One value for the batch."""
        with torch.no_grad():
            codes = self.encoder(batch["image"])
        return {"mmd": self.loss(codes, generated["code"])}
