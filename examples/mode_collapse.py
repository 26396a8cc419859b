"""How six GANs come to cover eight modes, or not: one row each, 1,500 updates (or `... 300`), the target last."""

import sys
from functools import partial
from typing import Any

from lightning.pytorch import Callback, Trainer, seed_everything
from matplotlib.figure import Figure
from torch import Tensor

from pl_genmodels import GAN, R3GAN, WGANGP
from pl_genmodels.data import Ring8
from pl_genmodels.metrics import mode_coverage
from pl_genmodels.models.gan.d2gan import D2GAN
from pl_genmodels.models.gan.minibatch_discrimination import MinibatchDiscrimination
from pl_genmodels.models.gan.unrolled_gan import UnrolledGAN
from pl_genmodels.models.optimizers import GANAdam
from pl_genmodels.networks import MLPDiscriminator, MLPGenerator

SYSTEMS: dict[str, Any] = {
    "GAN": GAN,
    "unrolled GAN": partial(UnrolledGAN, unrolled_steps=5),
    "D2GAN": D2GAN,
    "WGAN-GP": partial(WGANGP, gradient_penalty_weight=0.1),
    "minibatch\ndiscrimination": partial(MinibatchDiscrimination, num_kernels=4, kernel_dim=3),
    "R3GAN": partial(R3GAN, gamma=0.1),
}


class Keep(Callback):
    """Keeps samples at some numbers of generator updates."""

    def __init__(self, updates: list[int]) -> None:
        self.updates, self.clouds = updates, list[Tensor]()

    def on_train_batch_end(self, trainer: Trainer, module: Any, *_: Any) -> None:
        """After the first batch that gets there."""
        while len(self.clouds) < len(self.updates) and trainer.global_step >= self.updates[len(self.clouds)]:
            self.clouds.append(module.sample(500, seed=0))


if __name__ == "__main__":
    last, data = int((sys.argv[1:] or ["1500"])[0]), Ring8(num_samples=25_600, sigma=0.05, batch_size=128)
    updates = [max(1, last * share // 15) for share in (1, 3, 6, 10, 15)]
    figure = Figure(figsize=(9, 9), layout="constrained")
    grid = figure.subplots(len(SYSTEMS), 6, sharex=True, sharey=True)
    for (name, system), row in zip(SYSTEMS.items(), grid, strict=True):
        seed_everything(0)
        generator, discriminator = (partial(kind, hidden_dim=128) for kind in (MLPGenerator, MLPDiscriminator))
        networks: Any = {"generator": partial(generator, latent_dim=64), "discriminator": discriminator}
        adam, keep = partial(GANAdam, lr=1e-3), Keep(updates)
        model = system((2,), **networks, optimizer_generator=adam, optimizer_discriminator=adam)
        Trainer(max_steps=last, callbacks=[keep], logger=False, enable_checkpointing=False).fit(model, data)
        clouds = [*keep.clouds, data.load("val").tensors["image"][:500]]
        for axes, cloud, step in zip(row, clouds, [*updates, 0], strict=True):
            found = mode_coverage(cloud, data.centers, data.sigma)["modes"]
            axes.scatter(*cloud.T, s=2, color="tab:red" if step else "0.4")
            axes.set(xlim=(-3, 3), ylim=(-3, 3), title=f"{step}: {found:.0f} modes" if step else "target")
        row[0].set_ylabel(name)
    figure.savefig("mode_collapse.png")
