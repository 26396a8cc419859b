"""Models that show who or what is in a picture from another side: what one does with them once they are trained."""

from __future__ import annotations

from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from pl_genmodels.losses.precision import at_least_single
from pl_genmodels.models.averaging import AveragedGeneratorModule
from pl_genmodels.models.engine import evaluating
from pl_genmodels.models.latents import draw_latents
from pl_genmodels.networks import Prior, RotatingGenerator
from pl_genmodels.types import Batch, ImageShape, as_batch


class RotatingModule(AveragedGeneratorModule):
    """Players of which one owns `generator`, a `RotatingGenerator`.

    As a translation, AtoB, it shows pictures from the front.

    Attributes:
        num_poses: Poses that can be asked for, numbered from 0.
        front: The one that `translate` shows.
        prior: Distribution of the latents.
    """

    batch_keys = ("image", "label", "pose")
    directions: ClassVar[tuple[str, ...]] = ("AtoB",)
    generator: RotatingGenerator
    num_poses: int
    front: int
    prior: Prior

    @property
    def is_built(self) -> bool:
        """Whether the networks exist."""
        return hasattr(self, "generator")

    @property
    def source_shape(self) -> ImageShape | None:
        """Shape of what is turned."""
        return self.image_shape

    def encode(self, images: Tensor) -> Tensor:
        """Features of who is in pictures, in evaluation mode.

        Args:
            images: In [-1, 1], (B, C, H, W), or several of each identity, (B, n, C, H, W).

        Returns:
            (B, num_features), in at least single precision.

        Raises:
            ValueError: For pictures of another size.
        """
        if images.ndim not in (4, 5) or images.shape[-3:] != self.image_shape:
            raise ValueError(
                f"images: got shape {tuple(images.shape)}, allowed are {tuple(self.image_shape or ())} behind the "
                "number of pictures, or of identities and of pictures of each"
            )
        with evaluating(self.sampler):
            several = images if images.ndim == 5 else images[:, None]
            several = several.to(self.device, next(self.sampler.parameters()).dtype)
            return at_least_single(self.sampler.codes(several)[1])

    def rotate(self, images: Tensor, pose: Tensor | int, seed: int | None = None) -> Tensor:
        """Who is in pictures, in other poses, in evaluation mode and from averaged weights if there are any.

        Args:
            images: As for `encode`.
            pose: Number of the pose wanted, one for all or (B,).
            seed: Of the latents; without, torch's global state.

        Returns:
            (B, C, H, W) in [-1, 1], in at least single precision.

        Raises:
            ValueError: For pictures of another size, or a pose that there is not.
        """
        features = self.encode(images)
        wanted = torch.as_tensor(pose, device=self.device).expand(len(features))
        wrong = wanted[(wanted < 0) | (wanted >= self.num_poses)]
        if len(wrong):
            raise ValueError(f"pose: got {int(wrong[0])}, allowed are 0 to {self.num_poses - 1}")
        latent = draw_latents(self.prior, len(features), self.generator.latent_dim, self.device, seed=seed)
        dtype = next(self.sampler.parameters()).dtype
        with evaluating(self.sampler):
            turned = self.sampler.decode(features.to(dtype), F.one_hot(wanted.long(), self.num_poses), latent)
        return at_least_single(turned).clamp(-1, 1)

    def translate(self, images: Tensor, direction: str = "AtoB", seed: int | None = None) -> Tensor:
        """The same people from the front; see `rotate`.

        Raises:
            ValueError: For another direction than AtoB, or pictures of another size.
        """
        if direction not in self.directions:
            raise ValueError(f"direction: got {direction!r}, which a {type(self).__name__} has not, allowed: AtoB")
        return self.rotate(images, self.front, seed)

    def panels(self, batch: Batch, direction: str = "AtoB", seed: int | None = None) -> dict[str, Tensor]:
        """Columns of a grid for a batch: each identity's pictures, then what they say of it in every pose.

        Args:
            batch: With `image`, and with `others` or without.
            direction: AtoB.
            seed: Of the latents, the same in all poses.

        Returns:
            Images in [-1, 1] by the column's name, each (B, C, H, W).
        """
        given = self.pictures(batch)
        columns = {f"source {place}": images for place, images in enumerate(given.unbind(1))}
        return columns | {f"pose {pose}": self.rotate(given, pose, seed) for pose in range(self.num_poses)}

    def pictures(self, batch: Batch) -> Tensor:
        """All pictures of each identity, (B, n, C, H, W)."""
        first = batch["image"][:, None]
        return torch.cat([first, batch["others"]], 1) if "others" in batch else first

    def predict_step(self, batch: Tensor, batch_idx: int) -> Tensor:
        """The batch's people from the front."""
        return self.translate(self.pictures(as_batch(batch, self.batch_keys)))
