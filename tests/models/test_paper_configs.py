"""The papers' own recipes: they parse, build networks of the published size, and make one step's terms."""

from __future__ import annotations

import warnings

import pytest
import torch

from pl_genmodels.cli import GenerativeCLI
from tests.conftest import ROOT

# (generator, discriminator); r3gan's count has no published exact value and is that of the preset's shapes
PARAMETERS = {
    "dcgan_celeba": (3_576_704, 2_765_568),
    "dcgan_lsun": (3_576_704, 2_765_568),
    "wgan_gp_cifar10": (1_204_483, 1_053_825),
    "geometric_gan_cifar10": (4_276_739, 1_053_824),
    "r3gan_cifar10": (20_732_160, 20_683_776),
}
PAPERS = sorted((ROOT / "configs" / "paper").glob("*.yaml"))


@pytest.mark.parametrize("path", PAPERS, ids=lambda path: path.stem)
def test_builds_at_the_papers_scale(path, tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        cli = GenerativeCLI(
            [
                "--config",
                str(path),
                "--trainer.logger",
                "false",
                "--trainer.devices",
                "1",
                "--trainer.strategy",
                "auto",
            ],
            run=False,
        )
    model = cli.model
    counts = tuple(sum(p.numel() for p in net.parameters()) for net in (model.generator, model.discriminator))
    assert counts == PARAMETERS[path.stem]
    batch = model.draw({"image": torch.rand(2, *model.image_shape) * 2 - 1})
    generated = model.generate(batch)
    for terms in (model.discriminator_terms(batch, generated), model.generator_terms(batch, generated)):
        assert all(term.shape == (2,) and torch.isfinite(term).all() for term in terms.values())
    optimizers, schedulers = model.configure_optimizers()
    assert len(optimizers) == 2
    for scheduler in schedulers:
        optimizer = scheduler.optimizer
        start = optimizer.param_groups[0]["lr"]
        optimizer.step()
        for _ in range(scheduler.total_iters // 2):
            scheduler.step()
        assert optimizer.param_groups[0]["lr"] == pytest.approx(start / 2, rel=1e-3)
