"""Boundary-seeking GAN for discrete data (Hjelm et al. 2018)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from pl_genmodels.losses import Bernoulli, BoundarySeeking, importance_weights
from pl_genmodels.losses.precision import at_least_single
from pl_genmodels.models.engine import evaluating
from pl_genmodels.models.latent_gan import LatentGAN
from pl_genmodels.models.latent_generator import DECODE_BATCH
from pl_genmodels.models.latents import draw_latents
from pl_genmodels.networks import DecoderGenerator, Discriminator, Generator, MLPDiscriminator, UniformPrior
from pl_genmodels.types import Batch, Paper, Terms

APART = 1 << 40  # between the seeds of latents and of what is drawn given them


class BSGANDiscrete(LatentGAN):
    r"""G gives the law of black and white pixels, and learns from samples weighed by the discriminator.

    For each latent, M samples $y_m \sim g(y|z)$ get the weights $\tilde w_m = w_m / \sum_k w_k$ with
    $w = D(y)/(1 - D(y)) = e^{logit}$, which estimates p/q; G minimises $-\sum_m \tilde w_m \log g(y_m|z)$ (equations
    8 and 10). No gradient passes the samples or their weights. D is that of `GAN` on the samples themselves; real
    pixels above 0 count as white, others as black.

    Args:
        image_shape: See `GenerativeModule`.
        generator: Called with the image shape; gives the logit of white for each value.
        discriminator: Called with the image shape.
        num_candidates: M, 20 in the authors' code.

    Raises:
        ValueError: For fewer than two samples of a latent, whose weights say nothing.
    """

    paper = Paper(
        "Boundary-Seeking Generative Adversarial Networks",
        "Hjelm et al.",
        2018,
        "https://arxiv.org/abs/1702.08431",
        "discrete samples: importance weights from the discriminator in place of its gradient",
    )

    def __init__(
        self,
        image_shape: tuple[int, ...] | None = None,
        generator: Callable[[tuple[int, ...]], Generator] = DecoderGenerator,
        discriminator: Callable[[tuple[int, ...]], Discriminator] = MLPDiscriminator,
        num_candidates: int = 20,
        **kwargs: Any,
    ) -> None:
        if num_candidates < 2:
            raise ValueError(f"num_candidates: got {num_candidates}, allowed is 2 or more")
        self.num_candidates = num_candidates
        loss = BoundarySeeking()
        super().__init__(image_shape, generator=generator, discriminator=discriminator, loss=loss, **kwargs)
        self.likelihood = Bernoulli()

    # ---- sampling

    def decode(self, latents: Tensor) -> Tensor:
        """Expected pictures of latents, 2 g - 1 with g the probability of white, (B, *image_shape)."""
        with evaluating(self.sampler):
            dtype = next(self.sampler.parameters()).dtype
            logits = [at_least_single(self.sampler(part)) for part in latents.to(dtype).split(DECODE_BATCH)]
        return self.likelihood.mean(torch.cat(logits))

    def sample(self, num_samples: int, *, seed: int | None = None, first: int = 0) -> Tensor:
        """Black and white pictures; see `SamplingModule.sample`."""
        if num_samples < 1:
            raise ValueError(f"num_samples: got {num_samples}, allowed is 1 or more")
        white = self.decode(self.draw_latents(num_samples, seed=seed, first=first))
        seed = None if seed is None else seed + APART
        length = white[0].numel()
        drawn = draw_latents(UniformPrior(), num_samples, length, white.device, seed=seed, first=first)
        return _hard(drawn.view_as(white) < white)

    # ---- training

    def draw(self, batch: Batch) -> Batch:
        """Add latents and the uniform numbers that decide the pixels; make real pixels black or white."""
        batch = super().draw({**batch, "image": _hard(batch["image"] > 0).to(batch["image"].dtype)})
        if "uniform" in batch:
            return batch
        size = (len(batch["latent"]), self.num_candidates, *batch["image"].shape[1:])
        return {**batch, "uniform": torch.rand(size, device=batch["image"].device)}

    def draw_for_clock(self, batch: Batch) -> Batch:
        """New latents and uniform numbers for the generator's turn."""
        batch = super().draw_for_clock({name: value for name, value in batch.items() if name != "uniform"})
        return self.draw(batch)

    def generate(self, batch: Batch) -> Batch:
        """Logits of white, (B, ...), M samples of each, (B, M, ...), and the first of them."""
        logits = at_least_single(self.generator(batch["latent"]))
        candidates = _hard(batch["uniform"] < logits.detach().sigmoid().unsqueeze(1)).to(batch["image"].dtype)
        return {"image": candidates[:, 0], "candidates": candidates, "logits": logits}

    def generator_terms(self, batch: Batch, generated: Batch) -> Terms:
        """Candidates that the discriminator takes for real become more probable."""
        candidates, logits = generated["candidates"], generated["logits"]
        with torch.no_grad():
            weights = importance_weights(
                self.judge(self.augment(candidates.flatten(0, 1))).unflatten(0, candidates.shape[:2])
            )
        repeated = logits.unsqueeze(1).expand(candidates.shape).flatten(0, 1)
        log_prob = self.likelihood.log_prob(repeated, candidates.flatten(0, 1)).view_as(weights)  # (B, M)
        return {"adversarial": -(weights * log_prob).sum(1)}


def _hard(white: Tensor) -> Tensor:
    """1 for true and -1 for false."""
    return white.float() * 2 - 1
