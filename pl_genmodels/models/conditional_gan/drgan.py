"""DR-GAN, identity apart from pose (Tran, Yin, Liu 2017)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from pl_genmodels.losses.precision import at_least_single
from pl_genmodels.models.engine import stored_for
from pl_genmodels.models.latents import draw_latents
from pl_genmodels.models.optimizers import GANAdam
from pl_genmodels.models.rotating import RotatingModule
from pl_genmodels.networks import CASIAEncoder, Encoder, Prior, RotatingGenerator, UniformPrior
from pl_genmodels.types import Batch, ImageShape, Paper, Terms


class DRGAN(RotatingModule):
    r"""An autoencoder told a pose, against a classifier of who it is, in which pose, and of nobody: what is generated.

    D has $N_d + 1$ logits of identities, the last one of generated pictures, and $N_p$ of poses. With G(x, c, z) the
    picture of who is in x, in a pose c drawn at random, D maximises
    $E \log D^d_{y_d}(x) + E \log D^p_{y_p}(x) + E \log D^d_{N_d + 1}(G(x, c, z))$ and G maximises
    $E \log D^d_{y_d}(G(x, c, z)) + E \log D^p_c(G(x, c, z))$ (equations 5, 6). Where a batch has several pictures of an
    identity (`others` and their `other_poses`), G generates from each of them and once more from the weighted mean of
    their features, all with one c and z (equations 8, 9).

    Departs from the paper: the terms of an identity's n pictures, and of the n + 1 generated from them, are means and
    not sums, so that both players' objectives keep their proportion.

    Args:
        image_shape: See `GenerativeModule`.
        num_identities: N_d; a batch's `label` is one of them.
        num_poses: N_p; a batch's `pose` is one of them.
        front: The pose that `translate` shows; None for the middle one.
        generator: Called with the image shape and the number of poses.
        discriminator: Called with the image shape and the number of logits, those of identities first.
        pose_weight: Of the poses in both players' objectives.
        generator_steps: Generator updates for one of the discriminator, once `strong_after` generator updates are done;
            the paper takes 4 when D has become strong.
        strong_after: Generator updates before which there is one for each of the discriminator.
        prior: Distribution of the latents.
        optimizer_generator: Called with the generator's parameters.
        optimizer_discriminator: Called with the discriminator's parameters.
        scheduler_generator: Called with the generator's optimiser.
        scheduler_discriminator: Called with the discriminator's optimiser.
        scheduler_interval: Whether schedules advance by `step` (generator updates) or `epoch`.
        compile: See `GenerativeModule`.

    Raises:
        ValueError: For counts that are too small, a negative weight, or a front that is no pose.
    """

    paper = Paper(
        "Disentangled Representation Learning GAN for Pose-Invariant Face Recognition",
        "Tran, Yin, Liu",
        2017,
        "https://openaccess.thecvf.com/content_cvpr_2017/html/Tran_Disentangled_Representation_Learning_CVPR_2017_paper.html",
        "a face is turned to any pose, out of one picture or several, by features that know who but not how",
    )

    def __init__(
        self,
        image_shape: tuple[int, ...] | None = None,
        *,
        num_identities: int,
        num_poses: int,
        front: int | None = None,
        generator: Callable[[tuple[int, ...], int], RotatingGenerator] = RotatingGenerator,
        discriminator: Callable[[tuple[int, ...], int], Encoder] = partial(CASIAEncoder, linear=320),
        pose_weight: float = 1.0,
        generator_steps: int = 1,
        strong_after: int = 0,
        prior: Prior = UniformPrior(),
        optimizer_generator: Callable[[Iterable], Optimizer] = GANAdam,
        optimizer_discriminator: Callable[[Iterable], Optimizer] = GANAdam,
        scheduler_generator: Callable[[Optimizer], LRScheduler] | None = None,
        scheduler_discriminator: Callable[[Optimizer], LRScheduler] | None = None,
        scheduler_interval: str = "step",
        compile: bool = False,
    ) -> None:
        super().__init__(
            image_shape,
            {"discriminator": optimizer_discriminator, "generator": optimizer_generator},
            {"discriminator": scheduler_discriminator, "generator": scheduler_generator},
            scheduler_interval,
            compile=compile,
        )
        counts = {"num_identities": (num_identities, 2), "num_poses": (num_poses, 2)}
        counts |= {"generator_steps": (generator_steps, 1), "strong_after": (strong_after, 0)}
        for name, (value, least) in counts.items():
            if value < least:
                raise ValueError(f"{name}: got {value}, allowed is {least} or more")
        if pose_weight < 0:
            raise ValueError(f"pose_weight: got {pose_weight}, allowed is 0 or more")
        self.front = num_poses // 2 if front is None else front
        if not 0 <= self.front < num_poses:
            raise ValueError(f"front: got {front}, allowed are 0 to {num_poses - 1}")
        self.num_identities, self.num_poses, self.pose_weight = num_identities, num_poses, pose_weight
        self.generator_steps, self.strong_after, self.prior = generator_steps, strong_after, prior
        self._factories = (generator, discriminator)
        if self.image_shape is not None:
            self.configure_model()

    # ---- networks and turns

    def build(self, image_shape: ImageShape) -> None:
        """Create both players."""
        generator, discriminator = self._factories
        self.generator = generator(image_shape, self.num_poses)
        self.discriminator = discriminator(image_shape, self.num_identities + 1 + self.num_poses)
        for network in (self.generator, self.discriminator):
            stored_for(image_shape, network)

    def plays(self, player: str) -> bool:
        """The discriminator waits for some generator updates once it is strong."""
        late = self.generator_updates - self.strong_after
        return late < 0 or late % self.generator_steps == 0

    # ---- training

    def read_batch(self, batch: Any) -> Batch:
        """A batch by name.

        Raises:
            ValueError: If identities or poses are missing, or the first ones are out of range.
        """
        named = super().read_batch(batch)
        for name, count in (("label", self.num_identities), ("pose", self.num_poses)):
            if name not in named:
                raise ValueError(f"batch: has keys {sorted(named)}, but a DRGAN needs {name!r} too")
            if self.images_seen == 0:
                low, high = (int(value) for value in named[name].aminmax())
                if low < 0 or high >= count:
                    raise ValueError(f"{name}: got numbers from {low} to {high}, allowed are 0 to {count - 1}")
        return named

    def draw(self, batch: Batch) -> Batch:
        """Add latents, and the poses that are asked for."""
        image = batch["image"]
        latent = draw_latents(self.prior, len(image), self.generator.latent_dim, image.device).to(image.dtype)
        return {**batch, "latent": latent, "wanted": torch.randint_like(batch["pose"], self.num_poses)}

    def generate(self, batch: Batch) -> Batch:
        """Who is in the pictures, in the poses asked for, (B, m, C, H, W)."""
        wanted = F.one_hot(batch["wanted"], self.num_poses)
        return {"image": self.generator(self.pictures(batch), wanted, batch["latent"])}

    def say(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Logits of identities and of poses, in at least single precision, (N, C, H, W) to (N, N_d + 1), (N, N_p)."""
        identity, pose = at_least_single(self.discriminator(images)).split([self.num_identities + 1, self.num_poses], 1)
        return identity, pose

    def discriminator_terms(self, batch: Batch, generated: Batch) -> Terms:
        """Identity of real and generated pictures, and the pose of real ones."""
        identity, pose = self.say(self.pictures(batch).flatten(0, 1))
        on_fake, _ = self.say(generated["image"].flatten(0, 1))
        poses = batch["pose"][:, None]
        poses = torch.cat([poses, batch["other_poses"]], 1) if "others" in batch else poses  # (B, n)
        nobody = torch.full_like(batch["label"], self.num_identities)
        return {
            "identity": cross_entropy(identity, batch["label"]),
            "pose": self.pose_weight * cross_entropy(pose, poses),
            "fake": cross_entropy(on_fake, nobody),
        }

    def generator_terms(self, batch: Batch, generated: Batch) -> Terms:
        """To be taken for who was in the pictures, which is not nobody, and for the pose that was asked for."""
        identity, pose = self.say(generated["image"].flatten(0, 1))
        return {
            "identity": cross_entropy(identity, batch["label"]),
            "pose": self.pose_weight * cross_entropy(pose, batch["wanted"]),
        }


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """-log p(label), a mean over each identity's pictures, (B m, K) and (B,) or (B, m) to (B,)."""
    rows = labels.unsqueeze(1) if labels.ndim == 1 else labels
    every = rows.expand(-1, len(logits) // len(rows)).flatten()
    return F.cross_entropy(logits, every, reduction="none").unflatten(0, (len(rows), -1)).mean(1)
