"""The papers' own recipes: they parse, build networks of the published size, and make one step's terms."""

from __future__ import annotations

import contextlib
import math
import warnings
from unittest import mock

import pytest
import torch
from torch.optim.lr_scheduler import ExponentialLR, MultiStepLR, StepLR

from pl_genmodels.cli import GenerativeCLI
from pl_genmodels.models.autoregressive.pixel_rnn import PixelRNN
from pl_genmodels.models.conditional_gan.drgan import DRGAN
from pl_genmodels.models.conditional_gan.ffgan import FFGAN
from pl_genmodels.models.gan.unrolled_gan import UnrolledGAN
from pl_genmodels.models.likelihood import ObjectiveModule
from pl_genmodels.models.lookahead import Lookahead
from pl_genmodels.models.naming import NamingModule
from pl_genmodels.models.schedules import ConstantThenExponential, ConstantThenLinear
from pl_genmodels.models.translating import TranslationModule
from tests.conftest import ROOT
from tests.models.devices import OneDevice

# r3gan's count has no published exact value and is that of the preset's shapes
PARAMETERS = {
    "dcgan_celeba": {"generator": 3_576_704, "discriminator": 2_765_568},
    "dcgan_lsun": {"generator": 3_576_704, "discriminator": 2_765_568},
    "wgan_gp_cifar10": {"generator": 1_204_483, "discriminator": 1_053_825},
    "geometric_gan_cifar10": {"generator": 4_276_739, "discriminator": 1_053_824},
    "cyclegan_horse2zebra": {"generator": 2 * 11_378_179, "discriminator": 2 * 2_764_737},
    "pix2pix_facades": {"generator": 54_413_955, "discriminator": 2_768_705},
    "discogan_handbags2shoes": {"generator": 2 * 5_513_856, "discriminator": 2 * 2_765_568},
    "gpgan_transient_attributes": {"generator": 71_058_880, "discriminator": 2_765_568},
    "dualgan_facades": {"generator": 2 * 54_413_955, "discriminator": 2 * 2_765_633},
    "r3gan_cifar10": {"generator": 20_732_160, "discriminator": 20_683_776},
    "acgan_cifar10": {"generator": 2_994_051, "discriminator": 1_664_875},
    "artgan_cifar10": {"generator": 2_670_755, "discriminator": 3_251_597},
    "drgan_people": {"generator": 10_100_931, "discriminator": 2_929_394},
    "ian_celeba": {"generator": 18_100_372, "discriminator": 19_780_062, "encoder": 16_587_200},
    "ffgan_people": {
        "generator": 13_235_860,
        "regressor": 2_864_873,
        "recogniser": 3_182_984,
        "discriminator": 1_569_409,
    },
    "icgan_celeba": {
        "generator": 3_724_160,
        "discriminator": 2_784_000,
        "encoder_latent": 2_839_108,
        "encoder_condition": 2_797_042,
    },
    "age_cgan_imdb_wiki": {
        "generator": 3_625_856,
        "discriminator": 2_771_712,
        "encoder_latent": 2_839_108,
        "encoder_condition": 2_790_886,
    },
    "genegan_celeba": {"generator": 8_934_400, "discriminator": 2 * 6_832_641},
    "infogan_mnist": {"generator": 6_652_481, "discriminator": 6_558_144 + 1_025 + 133_004},
    "aae_mnist": {"generator": 1_794_784, "encoder": 1_794_008, "discriminator": 1_011_001},
    "aae_informed_mnist": {"generator": 1_788_784, "encoder": 1_788_002, "discriminator": 1_016_001},
    "aae_supervised_mnist": {"generator": 1_811_784, "encoder": 1_801_015, "discriminator": 1_018_001},
    "aae_reduction_mnist": {"generator": 1_788_784, "encoder": 1_798_012, "discriminator": 2_018_002, "heads": 20},
    "aae_semi_supervised_mnist": {"generator": 1_806_784, "encoder": 1_806_020, "discriminator": 2_026_002},
    "aae_clustering_mnist": {"generator": 1_812_784, "encoder": 1_816_026, "discriminator": 2_032_002},
    "aegan_celeba": {"generator": 3_576_704, "discriminator": 2_765_568, "encoder": 3_576_576},
    "bigan_mnist": {"generator": 1_909_520, "encoder": 1_908_786, "discriminator": 1_961_011},
    "cvae_gan_facescrub": {
        "generator": 24_025_984,
        "encoder": 28_450_240,
        "plane": 8_683_520,
        "discriminator": 11_164_416,
        "classifier": 4_184_082,
    },
    "ccgan_stl10": {"generator": 5_513_984, "discriminator": 9_245_771},
    "ccgan_squared_stl10": {"generator": 5_513_984, "discriminator": 9_245_771},
    "cgan_tags_mirflickr": {"generator": 8_744_700, "discriminator": 10_120_901},
    "cgan_mnist": {"generator": 2_413_984, "discriminator": 1_224_351},
    "d2gan_ring8": {"generator": 49_666, "discriminator": 513, "reverse_discriminator": 513},
    "improved_gan_mnist": {"generator": 695_784, "discriminator": 1_541_020},
    "am_gan_cifar10": {"generator": 7_138_944, "discriminator": 1_557_002},
    "adagan_ring8": {
        "generator": 17_538,
        "discriminator": 17_025,
        "components": 175_380,
        "classifier": 17_025,
        "weigher": 17_025,
        "new_discriminator": 17_025,
    },
    "b_gan_cifar10": {"generator": 1_068_928, "discriminator": 663_296},
    "bayesian_gan_cifar10": {"generator": 21_378_560, "discriminator": 1_486_464},
    "bsgan_celeba": {"generator": 3_281_792, "discriminator": 2_765_568},
    "bsgan_discrete_mnist": {"generator": 6_627_521, "discriminator": 373_761},
    "d2gan_cifar10": {"generator": 1_068_928, "discriminator": 663_296, "reverse_discriminator": 663_296},
    "ebgan_celeba": {"generator": 3_576_704, "discriminator": 12_280_227},
    "fgan_mnist": {"generator": 2_508_784, "discriminator": 246_481},
    "gan_mnist": {"generator": 2_503_984, "discriminator": 1_231_441},
    "gan_packed_ring8": {"generator": 486_402, "discriminator": 407_201},
    "gmmn_ae_mnist": {"generator": 379_104, "encoder": 836_640, "decoder": 837_392},
    "gmmn_mnist": {"generator": 1_149_904},
    "gogan_celeba": {"generator": 3_576_704, "discriminator": 2_765_568, "previous_generator": 3_576_704},
    "lsgan_ring8": {"generator": 49_666, "discriminator": 17_025},
    "minibatch_discrimination_cifar10": {"generator": 3_448_576, "discriminator": 4_558_185},
    "mmd_gan_cifar10": {"generator": 1_183_616, "discriminator": 4_701_731},
    "mmd_gan_witness_cifar10": {"generator": 1_183_616, "discriminator": 2_356_320},
    "unrolled_gan_ring8": {"generator": 49_666, "discriminator": 17_025},
    "wgan_lsun": {"generator": 3_576_704, "discriminator": 2_765_568},
    "began_celeba": {"generator": 1_716_611, "discriminator": 13_552_451},
    "cogan_mnist": {"generator": 7_842_694, "discriminator": 427_593},
    "unit_day2night": {"generator": 18_017_286, "discriminator": 5_529_474},
    "xgan_faces2cartoons": {"generator": 17_456_518, "discriminator": 48_194, "classifier": 147_841},
    "beta_vae_dsprites": {"encoder": 6_381_620, "decoder": 7_814_896},
    "conv_vae_mnist": {"encoder": 852_896, "decoder": 847_713},
    "cvae_structured_mnist": {"encoder": 843_400, "prior_encoder": 843_400, "decoder": 841_784},
    "iaf_resnet_vae_cifar10": {"network": 38_638_886, "likelihood": 1},
    "iaf_vae_mnist": {"posterior": 15_990_016, "encoder": 1_502_754, "decoder": 1_462_499},
    "vae_gan_celeba": {"generator": 4_693_155, "encoder": 18_071_360, "discriminator": 10_953_857},
    "vae_mnist_500": {"encoder": 693_100, "decoder": 668_784},
    "vae_mnist": {"encoder": 412_540, "decoder": 403_284},
    "made_mnist": {"network": 13_168_224},
    "made_mnist_32_masks": {"network": 77_176_224},
    "pixel_cnn_cifar10": {"network": 3_537_408},
    "pixel_cnn_mnist": {"network": 63_809},
    "gated_pixel_cnn_cifar10": {"network": 10_438_272},
    "pixel_cnn_pp_cifar10": {"network": 53_659_080},
    "pixel_rnn_mnist": {"network": 64_513},
    "pixel_rnn_cifar10": {"network": 7_778_304},
    "pixel_rnn_row_cifar10": {"network": 6_982_656},
}
MORE = {  # what a batch of two needs besides
    DRGAN: {"pose": lambda: torch.zeros(2).long()},
    FFGAN: {"coefficients": lambda: torch.zeros(2, 9), "visible": lambda: torch.ones(2, 1, 96, 96)},
}
PAPERS = sorted((ROOT / "configs" / "paper").glob("*.yaml"))
DRAWN = 1 << 16  # initial weights of a tensor; further ones repeat them, since millions would take longer than the rest


def repeated(draw):
    """A method that fills a tensor with random numbers, most of which are copies."""

    @torch.no_grad()
    def fill(tensor, *args, **kwargs):
        if tensor.numel() <= DRAWN or not tensor.is_contiguous():
            return draw(tensor, *args, **kwargs)
        flat, done = tensor.view(-1), DRAWN
        draw(flat[:done], *args, **kwargs)
        while done < len(flat):
            flat[done : 2 * done] = flat[: len(flat) - done][:done]
            done *= 2
        return tensor

    return fill


@pytest.fixture(autouse=True)
def quick_initial_weights(monkeypatch):
    for name in ("normal_", "uniform_"):
        monkeypatch.setattr(torch.Tensor, name, repeated(getattr(torch.Tensor, name)))


def terms_of(model, batch):
    """Every player's terms, or the terms of the one objective."""
    if isinstance(model, ObjectiveModule):
        return [model.terms(batch)]
    if isinstance(model, UnrolledGAN):  # whose optimiser a Trainer would make
        optimizer = model.configure_optimizers()[0][0]
        model.lookahead = lambda: Lookahead(model.discriminator, optimizer)
    batch = model.draw(batch)
    generated = model.generate(batch)
    return [getattr(model, f"{player}_terms")(batch, generated) for player in model.players]


def go_on(scheduler, steps):
    """As many steps at once, by the closed form that every schedule here has: some have a million."""
    assert hasattr(scheduler, "_get_closed_form_lr") or type(scheduler).__module__.startswith("pl_genmodels.")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # torch would rather have single steps
        scheduler.step(steps)


def has_gradients_on_one_device(model, batch):
    """On the meta device, with which no tensor of another mixes, and which has no values that a step could wait for."""
    model.to("meta")
    no_autocast = mock.patch.object(torch, "autocast", return_value=contextlib.nullcontext())  # there is none for meta
    with no_autocast, OneDevice():
        for terms in terms_of(model, {key: value.to("meta") for key, value in batch.items()}):
            assert all(term.is_meta for term in terms.values())
            torch.stack([term.mean() for term in terms.values()]).sum().backward(retain_graph=True)


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
    shapes = {key: getattr(model, name) for name, key in model.shape_keys.items()}
    if isinstance(model, TranslationModule) and type(model) not in MORE:  # at any size, hence at one that takes seconds
        shapes = {key: (shape[0], 64, 64) for key, shape in shapes.items()}
    batch = {key: torch.rand(2, *shape) * 2 - 1 for key, shape in shapes.items()}
    if (condition := getattr(model, "condition", None)) is not None:
        batch[condition.entry] = condition.draw(2, None, model.device)
    elif isinstance(model, (NamingModule, DRGAN, FFGAN)):
        batch["label"] = torch.zeros(2).long()
    rows = 2 // getattr(getattr(model, "discriminator", None), "num_packed", 1)
    batch |= {name: make() for name, make in MORE.get(type(model), {}).items()}
    for terms in terms_of(model, batch):
        assert all(term.shape == (rows,) and torch.isfinite(term).all() for term in terms.values())
    if not isinstance(model, PixelRNN):  # thousands of steps, which configs/pixel_rnn*.yaml have on a pretended GPU
        has_gradients_on_one_device(model, batch)
    if isinstance(model, ObjectiveModule):
        return
    optimizers, schedulers = model.configure_optimizers()
    assert len(optimizers) == len(model.players)
    for scheduler in schedulers:
        optimizer = scheduler.optimizer
        start, share = optimizer.param_groups[0]["lr"], 0.5
        optimizer.step()
        if isinstance(scheduler, MultiStepLR):
            go_on(scheduler, min(scheduler.milestones))
            assert optimizer.param_groups[0]["lr"] == pytest.approx(start * scheduler.gamma)
            continue
        if isinstance(scheduler, ConstantThenLinear):
            half_way, tolerance = scheduler.constant_epochs + scheduler.decay_epochs // 2, 1 / scheduler.decay_epochs
        elif isinstance(scheduler, ConstantThenExponential):
            fallen = math.log(0.5) / math.log(scheduler.final_factor)
            half_way = scheduler.constant_epochs + round(scheduler.decay_epochs * fallen)
            tolerance = 1 / scheduler.decay_epochs
        elif isinstance(scheduler, ExponentialLR):
            half_way, tolerance = round(math.log(0.5) / math.log(scheduler.gamma)), 1e-3
        elif isinstance(scheduler, StepLR):
            half_way, share, tolerance = scheduler.step_size, scheduler.gamma, 1e-9
        else:
            half_way, tolerance = scheduler.total_iters // 2, 1e-3
        go_on(scheduler, half_way)
        assert optimizer.param_groups[0]["lr"] == pytest.approx(start * share, rel=2 * tolerance)
