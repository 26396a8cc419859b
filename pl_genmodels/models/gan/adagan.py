"""AdaGAN: generators that join a mixture one by one, as in boosting (Tolstikhin et al. 2017)."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from pl_genmodels.layers.ranks import rows_of_all_ranks
from pl_genmodels.losses import LabelledLoss, NonSaturating
from pl_genmodels.losses.boosting import boosting_weights, mixture_shares
from pl_genmodels.losses.precision import at_least_single
from pl_genmodels.models.latent_mixture import LatentMixture
from pl_genmodels.models.optimizers import GANAdam
from pl_genmodels.models.sharding import local
from pl_genmodels.networks import Discriminator, Generator, MLPDiscriminator, MLPGenerator
from pl_genmodels.types import Batch, ImageShape, Paper, Terms


class AdaGAN(LatentMixture):
    r"""Each new generator learns what the mixture of those before it leaves out, and joins with the share beta.

    A classifier C tells data from samples of the mixture. In the next stage a real sample weighs
    $w = \frac{1}{\beta} (\lambda - (1 - \beta) \frac{1 - C(x)}{C(x)})_+$ in the loss of the discriminator, see
    `boosting_weights`; lambda is that of the batch (of all ranks, but of one micro-batch at a time). Generator and
    discriminator of a stage start anew, with new optimisers. The mixture is $(1 - \beta) P + \beta G$ (algorithm 1).

    Departs from the paper: data are weighted, where its code draws them anew by their weights; the classifier learns
    beside the generator that is about to join, and is kept as it is when the stage ends.

    Args:
        image_shape: See `GenerativeModule`.
        generator: Called with the image shape, once for each stage.
        discriminator: Called with the image shape.
        classifier: Called with the image shape.
        num_components: Generators in the end, the paper's T.
        component_updates: Generator updates of each stage but the last.
        beta: Share with which a generator joins; None for 1 / t, which makes all equal in the end.
        clip: The classifier's probabilities are kept in [clip, 1 - clip].
        loss: What discriminator and generator minimise.
        optimizer_classifier: Called with the classifier's parameters.
        **kwargs: See `LatentGAN`.

    Raises:
        ValueError: For counts below 1, or a share or clip out of range.
    """

    paper = Paper(
        "AdaGAN: Boosting Generative Models",
        "Tolstikhin et al.",
        2017,
        "https://arxiv.org/abs/1701.02386",
        "generators join a mixture one by one, each trained on what the others leave out",
    )
    players = ("classifier", "discriminator", "generator")

    loss: LabelledLoss
    components: nn.ModuleList

    def __init__(
        self,
        image_shape: tuple[int, ...] | None = None,
        generator: Callable[[tuple[int, ...]], Generator] = MLPGenerator,
        discriminator: Callable[[tuple[int, ...]], Discriminator] = MLPDiscriminator,
        classifier: Callable[[tuple[int, ...]], Discriminator] = MLPDiscriminator,
        num_components: int = 10,
        component_updates: int = 2000,
        beta: float | None = None,
        clip: float = 0.01,
        loss: LabelledLoss = NonSaturating(),
        optimizer_classifier: Callable[[Iterable], Optimizer] = GANAdam,
        **kwargs: Any,
    ) -> None:
        for name, count in (("num_components", num_components), ("component_updates", component_updates)):
            if count < 1:
                raise ValueError(f"{name}: got {count}, allowed is 1 or more")
        if beta is not None and not 0 < beta < 1:
            raise ValueError(f"beta: got {beta}, allowed is more than 0 and less than 1, or null for 1 / t")
        if not 0 < clip < 0.5:
            raise ValueError(f"clip: got {clip}, allowed is more than 0 and less than 0.5")
        self.num_components, self.component_updates, self.beta = num_components, component_updates, beta
        self.largest_logit = math.log(1 / clip - 1)
        self._make_classifier = classifier
        super().__init__(image_shape, generator=generator, discriminator=discriminator, loss=loss, **kwargs)
        self.optimizer_factories["classifier"] = optimizer_classifier

    def build(self, image_shape: ImageShape) -> None:
        """Create the players' networks, and what is kept: a generator for each stage, new ones until it ends."""
        super().build(image_shape)
        make, kept = self._factories["generator"], lambda network: copy.deepcopy(network).requires_grad_(False)
        self.components = nn.ModuleList(kept(make(image_shape)) for _ in range(self.num_components))
        self.classifier: Discriminator = self._make_classifier(image_shape)
        self.weigher, self.new_discriminator = kept(self.classifier), kept(self.discriminator)

    def networks_to_shard(self) -> list[nn.Module]:
        """What is kept goes with what is trained."""
        whole = self.replicated_players()
        kept = [("discriminator", self.new_discriminator), *(("generator", each) for each in self.components)]
        others = [network for player, network in kept if player not in whole]
        return [*super().networks_to_shard(), self.weigher, *others]

    # ---- the mixture

    @property
    def stage(self) -> int:
        """How many generators are finished."""
        return min(self.generator_updates // self.component_updates, self.num_components - 1)

    @property
    def betas(self) -> list[float]:
        """The share with which each generator so far has joined."""
        return [1.0, *(self.beta or 1 / t for t in range(2, self.stage + 2))]

    @property
    def shares(self) -> Tensor:
        """Of the finished generators and the one that learns."""
        return mixture_shares(self.betas)

    def make(self, latents: Tensor, members: Tensor) -> Tensor:
        """Each sample by its generator, the last of which is the one that learns."""
        return self._mixed(latents, members, self.sampler(latents))

    def _mixed(self, latents: Tensor, members: Tensor, current: Tensor) -> Tensor:
        samples = current.clone()
        for number, component in zip(range(self.stage), self.components, strict=False):
            rows = members == number
            samples[rows] = component(latents[rows]).to(samples.dtype)
        return samples

    def forward(self, latents: Tensor) -> Tensor:
        """Samples of the generator that learns, with gradient, in the current mode."""
        return self.generator(latents[:, :-1])

    def generate(self, batch: Batch) -> Batch:
        """Samples of the generator that learns."""
        return {"image": self(batch["latent"])}

    # ---- the players

    def weights(self, images: Tensor) -> Tensor:
        """What each real sample weighs for this stage's generator, on average 1, (B,)."""
        if self.stage == 0:
            return torch.ones(len(images), device=images.device)
        with torch.no_grad():
            logits = at_least_single(self.weigher(images)).clamp(-self.largest_logit, self.largest_logit)
            ratio = (-logits).exp()
            return boosting_weights(ratio, self.betas[-1], among=rows_of_all_ranks(ratio))[0]

    def classifier_terms(self, batch: Batch, generated: Batch) -> Terms:
        """Data against the mixture, of which the generator that learns is a part."""
        with torch.no_grad():
            mixture = self._mixed(*self.chosen(batch["latent"]), generated["image"])
        real, fake = (at_least_single(self.classifier(images)) for images in (batch["image"], mixture))
        return {"cross_entropy": nn.functional.softplus(-real) + nn.functional.softplus(fake)}

    def discriminator_terms(self, batch: Batch, generated: Batch) -> Terms:
        """Weighted data against the generator that learns."""
        real, fake = self.augment(batch["image"]), self.augment(generated["image"])
        weighted = self.weights(batch["image"]) * self.loss.as_real(self.judge(real))
        terms = {"adversarial": weighted + self.loss.as_fake(self.judge(fake))}
        for penalty in self.penalties:
            terms[penalty.name] = penalty(self.discriminator, real, fake)
        return terms

    # ---- stages

    def training_step(self, batch: Any, batch_idx: int) -> None:
        """A round; when it ends a stage, the generator is kept, and the next one begins."""
        before = self.stage
        super().training_step(batch, batch_idx)
        if self.stage > before:
            self._begin(self.stage)

    @torch.no_grad()
    def _begin(self, stage: int) -> None:
        fresh = self.components[stage]
        moves = [(self.components[stage - 1], self.sampler), (self.weigher, self.classifier)]
        moves += [(self.generator, fresh), (self.discriminator, self.new_discriminator)]
        moves += [] if self.average is None else [(self.average, fresh)]
        for to, source in moves:
            torch._foreach_copy_(local(to.parameters()), local(source.parameters()))
            for kept, new in zip(to.buffers(), source.buffers(), strict=True):
                kept.data.copy_(new)
        for player in ("discriminator", "generator"):
            self._optimizer_of(player).optimizer.state.clear()
