"""ResNet VAE with inverse autoregressive flow, of latents in many layers (Kingma et al. 2016)."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from pl_genmodels.losses import DiscretizedLogistic, FreeBits, Likelihood, VariationalObjective
from pl_genmodels.losses.objectives import weighted_bound
from pl_genmodels.losses.precision import at_least_single
from pl_genmodels.models.averaging import AveragedModule
from pl_genmodels.models.engine import evaluating
from pl_genmodels.models.ladder_latents import LadderLatents
from pl_genmodels.models.latents import draw_latents
from pl_genmodels.models.likelihood import LikelihoodModule
from pl_genmodels.models.starting import start_from_first_batch
from pl_genmodels.networks import LadderNetwork, NormalPrior
from pl_genmodels.types import Batch, ImageShape, Paper, Terms

DECODE_BATCH = 64  # images that go through the network at once when many are asked for


class IAFResNetVAE(AveragedModule, LikelihoodModule):
    r"""A VAE with latents in every layer of a ResNet, each a normal moved by a step that sees the values before it.

    $\log p(x) \ge E_q[\log p(x|z) + \sum_l \log p(z_l|z_{>l}) - \log q(z_l|x, z_{>l})]$ with
    $q(z_l|x, z_{>l})$ from the way up and the way down together. Trained with free bits for each feature map of each
    layer (equation 15). Validation also logs `bits_per_dim`, of one latent an image.

    Where one latent vector is asked for (`encode`, `decode`, `draw_latents`), it is that of all layers in the units of
    their priors, so that its prior is a standard normal. The network starts from the first batch of training.

    Departs from the paper: one step of flow a layer, the linear form of the authors' code instead of the gated one.

    Args:
        image_shape: See `GenerativeModule`.
        network: Called with the image shape and the number of parameters of a value.
        likelihood: p(x|z).
        objective: What is minimised.
        optimizer: Called with all parameters.
        **kwargs: See `LikelihoodModule`.
    """

    paper = Paper(
        "Improved Variational Inference with Inverse Autoregressive Flow",
        "Kingma et al.",
        2016,
        "https://arxiv.org/abs/1606.04934",
        "latents in every layer of a ResNet, inferred on the way up and down; masked convolutions move them",
    )
    averaged = "network"
    network: LadderNetwork

    def __init__(
        self,
        image_shape: tuple[int, ...] | None = None,
        *,
        network: Callable[[tuple[int, ...], int], LadderNetwork] = LadderNetwork,
        likelihood: Likelihood = DiscretizedLogistic(),
        objective: VariationalObjective = FreeBits(),
        optimizer: Callable[[Iterable], Optimizer] = torch.optim.Adamax,
        **kwargs: Any,
    ) -> None:
        super().__init__(image_shape, optimizer, **kwargs)
        self.likelihood, self.objective = copy.deepcopy(likelihood), objective
        self._factory, self.prior = network, NormalPrior()
        self.register_buffer("started", torch.zeros((), dtype=torch.long))  # 1 once it has
        self.started: Tensor
        if self.image_shape is not None:
            self.configure_model()

    @property
    def is_built(self) -> bool:
        """Whether the network exists."""
        return hasattr(self, "network")

    def build(self, image_shape: ImageShape) -> None:
        """Create the network."""
        self.network = self._factory(image_shape, self.likelihood.num_parameters)

    @property
    def averaged_updates(self) -> int:
        """Steps of the optimiser."""
        return self.trainer.global_step

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        """The loss of a batch; the first one of all sets the gains and biases before."""
        if not (self.images_seen or self.started):
            image = self.read_batch(batch)["image"]
            start_from_first_batch(self, lambda: self.network(image, self._noise(len(image), 1)))
            self.started.fill_(1)
        return super().training_step(batch, batch_idx)

    # ---- the bound

    def terms(self, batch: Batch) -> Terms:
        """Terms of the objective."""
        log_likelihood, latents = self._drawn(batch["image"], self.objective.num_latents)
        return self.objective(log_likelihood, latents, self.images_seen)

    def evaluation_terms(self, batch: Batch) -> Terms:
        """Negative evidence lower bound, one latent an image."""
        log_likelihood, latents = self._drawn(batch["image"], 1)
        return {"reconstruction": -log_likelihood[0], "kl": latents.kl().sum(1)}

    def summaries(self, loss: Tensor) -> Terms:
        """Nats an image in bits per dimension."""
        return {"bits_per_dim": loss / (math.prod(self.image_shape or ()) * math.log(2))}

    def log_likelihood(self, image: Tensor, num_importance_samples: int = 500) -> Tensor:
        """Importance-weighted bound; see `VariationalModule`.

        Args:
            image: (B, *image_shape).
            num_importance_samples: K.

        Returns:
            Nats, (B,).

        Raises:
            ValueError: For K below 1.
        """

        def log_weights_of(part: Batch, count: int) -> Tensor:
            log_likelihood, latents = self._drawn(part["image"], count)
            return log_likelihood + latents.log_ratio()

        with evaluating(self):
            return weighted_bound(log_weights_of, {"image": image}, num_importance_samples)

    def _drawn(self, image: Tensor, count: int) -> tuple[Tensor, LadderLatents]:
        """Log p(x|z), (K, B), of K latents an image, and the latents."""
        network = self.network if self.training else self.sampler
        parameters, rungs = network(image, self._noise(len(image), count))
        log_likelihood = self.likelihood.log_prob(at_least_single(parameters), image.repeat(count, 1, 1, 1))
        return log_likelihood.unflatten(0, (count, -1)), LadderLatents.of(rungs, count)

    def _noise(self, number: int, count: int) -> list[Tensor]:
        dtype = torch.promote_types(self.network.top.dtype, torch.float32)
        return [
            torch.randn(count, number, *shape, device=self.device, dtype=dtype).flatten(0, 1)
            for shape in self.network.latent_shapes
        ]

    # ---- what one does with it

    def encode(self, image: Tensor) -> Tensor:
        """What the posteriors' noise of 0 leads to, in the units of the priors, (B, *image_shape) to (B, n)."""
        found = []
        with evaluating(self):
            for part in image.to(self.device).split(DECODE_BATCH):
                noise = [torch.zeros_like(each) for each in self._noise(len(part), 1)]
                rungs = self.sampler(part, noise)[1]
                found.append(
                    torch.cat([((r.value - r.prior_mean) * torch.exp(-r.prior_log_std)).flatten(1) for r in rungs], 1)
                )
        return torch.cat(found)

    def decode(self, latents: Tensor) -> Tensor:
        """Expected images, (B, n) to (B, *image_shape)."""
        shapes = self.network.latent_shapes
        dtype, sizes = torch.promote_types(self.network.top.dtype, torch.float32), [math.prod(s) for s in shapes]
        found = []
        with evaluating(self):
            for part in latents.to(self.device, dtype).split(DECODE_BATCH):
                noise = [each.unflatten(1, shape) for each, shape in zip(part.split(sizes, 1), shapes, strict=True)]
                found.append(self.likelihood.mean(at_least_single(self.sampler(None, noise)[0])))
        return torch.cat(found)

    def reconstruct(self, image: Tensor) -> Tensor:
        """Images through their latents and back, (B, *image_shape)."""
        return self.decode(self.encode(image))

    def draw_latents(self, num_samples: int, *, seed: int | None = None, first: int = 0) -> Tensor:
        """Latents from the prior, (num_samples, n); see `sample` for the arguments.

        Raises:
            ValueError: For a number below 1.
        """
        if num_samples < 1:
            raise ValueError(f"num_samples: got {num_samples}, allowed is 1 or more")
        return draw_latents(self.prior, num_samples, self.network.latent_dim, self.device, seed=seed, first=first)

    def sample(self, num_samples: int, *, seed: int | None = None, first: int = 0) -> Tensor:  # noqa: D102
        return self.decode(self.draw_latents(num_samples, seed=seed, first=first))
