"""The papers' own recipes: they parse, build networks of the published size, and make one step's terms."""

from __future__ import annotations

import warnings

import pytest
import torch

from pl_genmodels.cli import GenerativeCLI
from pl_genmodels.models.likelihood import LikelihoodModule
from tests.conftest import ROOT

# r3gan's count has no published exact value and is that of the preset's shapes
PARAMETERS = {
    "dcgan_celeba": {"generator": 3_576_704, "discriminator": 2_765_568},
    "dcgan_lsun": {"generator": 3_576_704, "discriminator": 2_765_568},
    "wgan_gp_cifar10": {"generator": 1_204_483, "discriminator": 1_053_825},
    "geometric_gan_cifar10": {"generator": 4_276_739, "discriminator": 1_053_824},
    "r3gan_cifar10": {"generator": 20_732_160, "discriminator": 20_683_776},
    "vae_mnist": {"encoder": 412_540, "decoder": 403_284},
}
PAPERS = sorted((ROOT / "configs" / "paper").glob("*.yaml"))


def terms_of(model, batch):
    """Every player's terms, or the terms of the one objective."""
    if isinstance(model, LikelihoodModule):
        return [model.terms(batch)]
    batch = model.draw(batch)
    generated = model.generate(batch)
    return [getattr(model, f"{player}_terms")(batch, generated) for player in model.players]


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
    expected = PARAMETERS[path.stem]
    assert {name: sum(p.numel() for p in getattr(model, name).parameters()) for name in expected} == expected
    assert sum(expected.values()) == sum(p.numel() for p in model.parameters())
    batch = {"image": torch.rand(2, *model.image_shape) * 2 - 1}
    for terms in terms_of(model, batch):
        assert all(term.shape == (2,) and torch.isfinite(term).all() for term in terms.values())
    if isinstance(model, LikelihoodModule):
        return
    optimizers, schedulers = model.configure_optimizers()
    assert len(optimizers) == len(model.players)
    for scheduler in schedulers:
        optimizer = scheduler.optimizer
        start = optimizer.param_groups[0]["lr"]
        optimizer.step()
        for _ in range(scheduler.total_iters // 2):
            scheduler.step()
        assert optimizer.param_groups[0]["lr"] == pytest.approx(start / 2, rel=1e-3)
