"""GANs with players, terms or state of their own: the terms are the papers', and the state is kept."""

from __future__ import annotations

from functools import partial
from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F
from lightning.pytorch import Callback

from pl_genmodels.layers.balance import Balance
from pl_genmodels.losses import (
    R1,
    GaussianSum,
    Margin,
    MomentMatching,
    RationalQuadratic,
    WeightClipping,
    witness_penalty,
)
from pl_genmodels.models.gan.began import BEGAN
from pl_genmodels.models.gan.bsgan_discrete import BSGANDiscrete
from pl_genmodels.models.gan.d2gan import D2GAN
from pl_genmodels.models.gan.ebgan import EBGAN
from pl_genmodels.models.gan.gmmn import GMMN
from pl_genmodels.models.gan.gmmn_ae import GMMNAE
from pl_genmodels.models.gan.gogan import GoGAN
from pl_genmodels.models.gan.mmd_gan import MMDGAN
from pl_genmodels.networks import (
    AutoencoderDiscriminator,
    DecoderGenerator,
    MLPDecoder,
    MLPGenerator,
    ResNetDiscriminator,
)
from tests.small import fit, gan, loader


def drawn(model, number=6):
    """A batch with latents, and what the generator makes of it."""
    torch.manual_seed(1)
    batch = model.draw({"image": torch.rand(number, *model.image_shape) * 2 - 1})
    return batch, model.generate(batch)


class AfterBatch(Callback):
    """Calls a function after every batch."""

    def __init__(self, function):
        self.function = function

    def on_train_batch_end(self, trainer, module, *args):
        self.function()


# ---- d2gan


def test_d2gan_terms_are_equation_1():
    model = gan(model=D2GAN, alpha=0.3, beta=0.7)
    batch, generated = drawn(model)
    real, fake = (
        [F.softplus(network(images)) for network in (model.discriminator, model.reverse_discriminator)]
        for images in (batch["image"], generated["image"])
    )
    terms = model.discriminator_terms(batch, generated)
    assert terms.keys() == {"adversarial", "reverse"}
    value = 0.3 * real[0].log() - fake[0] - real[1] + 0.7 * fake[1].log()
    torch.testing.assert_close(terms["adversarial"] + terms["reverse"], -value)
    terms = model.generator_terms(batch, generated)
    torch.testing.assert_close(terms["adversarial"] + terms["reverse"], 0.7 * fake[1].log() - fake[0])


def test_d2gan_trains_penalises_and_constrains_both_discriminators(tmp_path):
    model = gan(model=D2GAN, penalties=[R1(1.0)], constraints=[WeightClipping(0.02)])
    both = model.player_networks("discriminator")
    before = [[p.clone() for p in network.parameters()] for network in both]
    assert not torch.equal(before[0][0], before[1][0])  # two networks, not one twice
    terms = model.discriminator_terms(*drawn(model))
    torch.testing.assert_close(terms["r1"], R1(1.0)(both[0], drawn(model)[0]["image"], None))
    torch.testing.assert_close(terms["reverse_r1"], R1(1.0)(both[1], drawn(model)[0]["image"], None))
    fit(model, loader(3), tmp_path)
    for network, start in zip(both, before, strict=True):
        weights = list(network.parameters())
        assert not torch.equal(weights[0], start[0])
        assert max(p.abs().max() for p in weights) <= 0.02 + 1e-9


def test_d2gan_makes_two_of_a_finished_discriminator():
    network = gan().discriminator
    model = gan(model=D2GAN, discriminator=network)
    assert model.discriminator is network
    assert model.reverse_discriminator is not network


# ---- ebgan, began

AUTOENCODER = partial(AutoencoderDiscriminator, code_dim=3)


def test_energy_is_the_mean_error_of_the_reconstruction():
    images = torch.randn(4, 1, 3, 3)
    for power in (1, 2):
        network = AutoencoderDiscriminator((1, 3, 3), code_dim=2, power=power)
        code = network.encoder(images)
        error = (network.decoder(code) - images).abs() ** power
        logits, (found,) = network(images, with_features=True)
        torch.testing.assert_close(logits, -error.mean((1, 2, 3)))
        torch.testing.assert_close(found, code)
        torch.testing.assert_close(network(images), logits)
        assert network(images.bfloat16().float()).dtype == torch.float32


def test_ebgan_terms():
    model = gan(model=EBGAN, discriminator=AUTOENCODER, margin=0.7, pulling_away_weight=0.2)
    batch, generated = drawn(model)
    energy = lambda images: (model.discriminator.decoder(model.discriminator.encoder(images)) - images).square().mean(1)
    found = model.discriminator_terms(batch, generated)["adversarial"]
    torch.testing.assert_close(found, energy(batch["image"]) + F.relu(0.7 - energy(generated["image"])))
    terms = model.generator_terms(batch, generated)
    torch.testing.assert_close(terms["adversarial"], energy(generated["image"]))
    codes = F.normalize(model.discriminator.encoder(generated["image"]))
    squares = (codes @ codes.T).square()
    torch.testing.assert_close(terms["pulling_away"].mean(), 0.2 * (squares.sum() - 6) / 30)
    plain = gan(model=EBGAN, pulling_away_weight=0.0)
    assert plain.generator_terms(*drawn(plain)).keys() == {"adversarial"}


def test_began_balance_follows_the_recursion():
    balance, k = Balance(gamma=0.5, rate=0.01), 0.0
    for a, b in [(1.0, 0.3), (1.0, 0.9), (0.8, 0.1), (1.0, 0.9), (300.0, 0.0), (1.0, 0.2)]:
        balance.update(torch.tensor(a), torch.tensor(b))
        k = min(max(k + 0.01 * (0.5 * a - b), 0.0), 1.0)
        assert balance.k.item() == pytest.approx(k, abs=1e-7)
        assert balance.measure.item() == pytest.approx(a + abs(0.5 * a - b))
    balance = Balance(0.5)
    balance.update(torch.tensor(1.0), torch.tensor(0.3))
    assert balance.k.item() == pytest.approx(2e-4)
    balance.update(torch.tensor(1.0), torch.tensor(0.9))
    assert (balance.k.item(), balance.measure.item()) == (0.0, pytest.approx(1.4))


def test_began_weighs_generated_samples_and_steers_by_its_own_errors(tmp_path):
    model = gan(model=BEGAN, discriminator=partial(AUTOENCODER, power=1), gamma=0.4, balance_rate=5.0)
    errors = {}

    def note(player, terms):
        def noted(batch, generated):
            errors[player] = (model.judge(batch["image"]).detach(), model.judge(generated["image"]).detach())
            return terms(batch, generated)

        return noted

    for player in model.players:
        setattr(model, f"{player}_terms", note(player, getattr(model, f"{player}_terms")))
    fit(model, loader(1), tmp_path)
    real, fake = -errors["discriminator"][0].mean(), -errors["generator"][1].mean()
    k = (5.0 * (0.4 * real - fake)).clamp(0, 1)
    torch.testing.assert_close(model.balance.k, k)
    torch.testing.assert_close(model.balance.measure, real + (0.4 * real - fake).abs())
    model.balance.k.fill_(0.3)
    batch, generated = drawn(model)
    terms = BEGAN.discriminator_terms(model, batch, generated)
    torch.testing.assert_close(terms["real"], -model.judge(batch["image"]))
    torch.testing.assert_close(terms["fake"], 0.3 * model.judge(generated["image"]))


def test_balance_keeps_its_precision():
    balance = Balance(rate=1e-4)
    balance.k.fill_(0.5)
    balance.bfloat16()
    for _ in range(100):
        balance.update(torch.tensor(1.0), torch.tensor(0.0))
    assert balance.k.item() == pytest.approx(0.505, abs=1e-5)
    assert balance.double().k.dtype == torch.float64


# ---- gmmn, gmmn_ae, mmd_gan


def discrepancy(kernel, x, y):
    """Square root of the biased estimate, written out."""
    return (kernel(x, x).mean() + kernel(y, y).mean() - 2 * kernel(x, y).mean()).sqrt()


def stepped(model, player, batch, rate=1e-3):
    """One plain gradient step of a player on a batch, with the generator's samples made anew."""
    names = [p for network in model.player_networks(player) for p in network.parameters()]
    terms = getattr(model, f"{player}_terms")(batch, model.generate(batch))
    gradients = torch.autograd.grad(sum(term.mean() for term in terms.values()), names, allow_unused=True)
    with torch.no_grad():
        for parameter, gradient in zip(names, gradients, strict=True):
            if gradient is not None:
                parameter -= rate * gradient
    return terms


def test_gmmn_has_a_generator_alone_and_descends_the_discrepancy():
    torch.manual_seed(0)
    model = GMMN((2,), partial(MLPGenerator, latent_dim=3, hidden_dim=8), MomentMatching(GaussianSum((0.5, 2.0))))
    assert [name for name, _ in model.named_children()] == ["generator"]
    batch = model.draw({"image": torch.randn(20, 2) + 1})
    values = []
    for _ in range(3):
        value = stepped(model, "generator", batch, 0.1)["mmd"]
        wanted = discrepancy(model.loss.kernel, batch["image"], model.generate(batch)["image"])
        assert value.shape == (20,)
        assert torch.equal(value, value[:1].expand(20))
        values.append(value[0].item())
    assert values[0] > values[1] > values[2] > wanted


def test_gmmn_ae_matches_codes_and_decodes_them(tmp_path):
    torch.manual_seed(0)
    model = GMMNAE((2,), 3, partial(MLPGenerator, latent_dim=4, hidden_dim=8), autoencoder_updates=2)
    latents = torch.randn(5, 4)
    torch.testing.assert_close(model.decode(latents), model.decoder(model.generator(latents)))
    torch.testing.assert_close(model(latents), model.decoder(model.generator(latents)))
    batch, generated = drawn(model)
    codes = model.encoder(batch["image"])
    wanted = discrepancy(model.loss.kernel, codes, model.generator(batch["latent"]))
    torch.testing.assert_close(model.generator_terms(batch, generated)["mmd"], wanted.expand(6), rtol=1e-4, atol=1e-4)
    error = (model.decoder(codes) - batch["image"]).square().mean(1)
    torch.testing.assert_close(model.autoencoder_terms(batch, generated)["reconstruction"], error)
    kept = []
    fit(model, loader(4), tmp_path, callbacks=[AfterBatch(lambda: kept.append(model.encoder.layers[0].weight.clone()))])
    assert [torch.equal(*pair) for pair in pairwise(kept)] == [False, True, True]


def mmd_gan(**options):
    loss = MomentMatching(GaussianSum((0.5, 1.0)))
    return gan(model=MMDGAN, discriminator=AUTOENCODER, loss=loss, **{"clip": 1.0, **options})


def test_mmd_gan_terms():
    model = mmd_gan(reconstruction_weight=3.0, rank_weight=5.0)
    batch, generated = drawn(model)
    x, y = (model.discriminator.encoder(images) for images in (batch["image"], generated["image"]))
    measure = discrepancy(model.matching.kernel, x, y)
    rank = 5.0 * (x.mean(0) - y.mean(0)).clamp(max=0).mean()
    errors = [(model.discriminator.decoder(c) - i["image"]).square().mean(1) for c, i in ((x, batch), (y, generated))]
    terms = model.discriminator_terms(batch, generated)
    close = partial(torch.testing.assert_close, rtol=1e-4, atol=1e-4)
    close(terms["mmd"], -measure.expand(6))
    close(terms["rank"], -rank.expand(6))
    close(terms["reconstruction"], 3.0 * (errors[0] + errors[1]))
    terms = model.generator_terms(batch, generated)
    assert terms.keys() == {"mmd", "rank"}
    close(terms["mmd"], measure.expand(6))
    close(terms["rank"], rank.expand(6))
    assert rank < 0


def test_mmd_gan_with_a_witness_bounds_no_weights(tmp_path):
    model = mmd_gan(reconstruction_weight=0.0, rank_weight=0.0, witness_weight=2.0, clip=None)
    assert model.replicated_players() == {"discriminator"}
    batch, generated = drawn(model)
    images = batch["image"], generated["image"].detach()
    encoder = model.discriminator.encoder
    torch.manual_seed(5)
    terms = model.discriminator_terms(batch, {"image": images[1]})
    torch.manual_seed(5)
    wanted = 2.0 * witness_penalty(encoder, model.matching.kernel, *images)
    torch.testing.assert_close(terms["witness"], wanted)
    with torch.no_grad():
        for parameter in model.discriminator.parameters():
            parameter.fill_(3.0)
    model.after_step("discriminator")
    assert all((parameter == 3).all() for parameter in encoder.parameters())
    fit(mmd_gan(witness_weight=1.0, clip=None, warmup_updates=0), loader(6), tmp_path)
    assert "witness" not in mmd_gan().discriminator_terms(batch, generated)


def test_mmd_gan_players_pull_the_discrepancy_apart():
    model = mmd_gan(reconstruction_weight=0.0, rank_weight=0.0)
    batch = drawn(model, 40)[0]
    at_first = stepped(model, "discriminator", batch, 0.05)["mmd"].mean().neg()
    raised = stepped(model, "generator", batch, 0.05)["mmd"].mean()
    lowered = stepped(model, "generator", batch)["mmd"].mean()
    assert raised > at_first + 1e-5
    assert lowered < raised - 1e-5


def test_mmd_gan_clips_the_encoder_alone(tmp_path):
    model = mmd_gan(clip=0.01, warmup_updates=1, warmup_steps=2, critic_steps=1)
    assert [model.critic_steps_at(update) for update in (0, 1, 500)] == [2, 1, 2]
    fit(model, loader(3), tmp_path)
    bounds = [max(p.abs().max() for p in part.parameters()) for part in model.discriminator.children()]
    assert bounds[0] <= 0.01 + 1e-9
    assert bounds[1] > 0.1


# ---- bsgan_discrete, gogan


def discrete(**options):
    networks = {"generator": partial(DecoderGenerator, latent_dim=3, decoder=partial(MLPDecoder, hidden_dim=8))}
    return gan((1, 2, 2), BSGANDiscrete, **{**networks, **options})


def test_bsgan_discrete_weighs_the_samples_of_each_latent():
    model = discrete(num_candidates=3)
    batch, generated = drawn(model, 4)
    assert set(batch["image"].unique().tolist()) == {-1.0, 1.0}
    candidates = generated["candidates"]
    assert candidates.shape == (4, 3, 1, 2, 2)
    torch.testing.assert_close(generated["image"], candidates[:, 0])
    wanted = []
    for row in range(4):
        weights = model.discriminator(candidates[row]).exp().detach()
        signs = (candidates[row] * generated["logits"][row]).flatten(1)
        wanted.append(-(weights / weights.sum() * F.logsigmoid(signs).sum(1)).sum())
    found = model.generator_terms(batch, generated)["adversarial"]
    torch.testing.assert_close(found, torch.stack(wanted))
    model.discriminator.zero_grad()
    found.sum().backward()
    assert all(p.grad is None for p in model.discriminator.parameters())
    assert all(p.grad is not None for p in model.generator.parameters())


def test_bsgan_discrete_follows_maximum_likelihood():
    """With D the exact ratio and many samples, its gradient is on average that of -sum p log g; two pixels."""
    torch.manual_seed(0)
    model = discrete(num_candidates=4000)
    logits = torch.tensor([0.4, -0.6]).view(1, 1, 1, 2).requires_grad_()
    states = torch.tensor([[-1.0, -1.0], [-1.0, 1.0], [1.0, -1.0], [1.0, 1.0]]).view(4, 1, 1, 2)
    p = torch.tensor([0.4, 0.1, 0.2, 0.3])
    log_g = F.logsigmoid(states * logits).flatten(1).sum(1)
    (wanted,) = torch.autograd.grad(-(p * log_g).sum(), logits)
    table = (p.log() - log_g).detach()
    model.judge = lambda images: table[((images.flatten(1) > 0).long() * torch.tensor([2, 1])).sum(1)]
    uniform = torch.rand(200, 4000, 1, 1, 2)
    candidates = (uniform < logits.detach().sigmoid()).float() * 2 - 1
    generated = {"candidates": candidates, "logits": logits.expand(200, 1, 1, 2)}
    (found,) = torch.autograd.grad(model.generator_terms({}, generated)["adversarial"].mean(), logits)
    torch.testing.assert_close(found, wanted, rtol=0, atol=2e-3)


def test_bsgan_discrete_samples_are_black_or_white_with_the_generators_probabilities():
    model = discrete()
    with torch.no_grad():
        for parameter in model.generator.parameters():
            parameter.zero_()
        list(model.generator.parameters())[-1].copy_(torch.tensor([2.0, 0.0, -1.0, 9.0]))
    samples = model.sample(4000, seed=0)
    assert set(samples.unique().tolist()) == {-1.0, 1.0}
    share = ((samples + 1) / 2).mean(0).flatten()
    torch.testing.assert_close(share, torch.tensor([2.0, 0.0, -1.0, 9.0]).sigmoid(), rtol=0, atol=0.03)
    torch.testing.assert_close(
        model.decode(torch.zeros(1, 3)).flatten(), 2 * torch.tensor([2.0, 0, -1, 9]).sigmoid() - 1
    )
    assert torch.equal(model.sample(10, seed=0, first=100), samples[100:110])
    independent = (samples[:, 0, 0, 0] * samples[:, 0, 0, 1]).mean() - samples[:, 0, 0, 0].mean() * samples[
        :, 0, 0, 1
    ].mean()
    assert independent.abs() < 0.05


def test_gogan_keeps_the_last_stage_and_ranks_above_it(tmp_path):
    model = gan(model=GoGAN, stage_updates=2, num_stages=3, critic_steps=1, rank_margin=0.5, rank_weight=2.0, clip=1.0)
    assert model.generate(drawn(model)[0]).keys() == {"image"}
    trained, kept = [], []
    weight = lambda network: network.layers[0].weight.clone()
    note = AfterBatch(lambda: (trained.append(weight(model.generator)), kept.append(weight(model.previous_generator))))
    fit(model, loader(7), tmp_path, callbacks=[note])
    assert model.stage == 2
    same = [[torch.equal(old, new) for new in trained] for old in kept]
    assert [row.index(True) if True in row else None for row in same] == [None, 1, 1, 3, 3, 3, 3]
    batch, generated = drawn(model)
    below = model.previous_generator(batch["latent"])
    rank = 2.0 * F.relu(model.judge(below) + 0.5 - model.judge(generated["image"]))
    for player in model.players:
        torch.testing.assert_close(getattr(model, f"{player}_terms")(batch, generated)["rank"], rank)
    margin = F.relu(model.judge(generated["image"]) + 1.0 - model.judge(batch["image"]))
    torch.testing.assert_close(model.discriminator_terms(batch, generated)["adversarial"], margin)


def test_ranking_of_known_scores():
    """New samples at 0.4 below old ones at 0.5 cost 0.1."""
    values = Margin(0.0).discriminator(torch.tensor([0.4, 0.6]), torch.tensor([0.5, 0.5]))
    torch.testing.assert_close(values, torch.tensor([0.1, 0.0]))


@pytest.mark.parametrize(
    ("build", "sentence"),
    [
        (lambda: gan(model=EBGAN, pulling_away_weight=-1.0), "pulling_away_weight: got -1.0, allowed is 0 or more"),
        (
            lambda: gan((1, 16, 16), EBGAN, discriminator=partial(ResNetDiscriminator, channels=2)),
            "pulling_away_weight: got 0.1, allowed with a ResNetDiscriminator, which gives no codes, is 0",
        ),
        (lambda: gan(model=BEGAN, gamma=0.0), "gamma: got 0.0, allowed is more than 0 and at most 1"),
        (lambda: gan(model=BEGAN, balance_rate=0.0), "balance_rate: got 0.0, allowed is more than 0"),
        (lambda: mmd_gan(rank_weight=-1.0), "rank_weight: got -1.0, allowed is 0 or more"),
        (lambda: mmd_gan(witness_weight=-1.0), "witness_weight: got -1.0, allowed is 0 or more"),
        (lambda: mmd_gan(warmup_steps=0), "warmup_updates, warmup_steps: got 25, 0, allowed are"),
        (lambda: GMMNAE((2,), code_dim=0), "code_dim: got 0, allowed is 1 or more"),
        (lambda: discrete(num_candidates=1), "num_candidates: got 1, allowed is 2 or more"),
        (lambda: gan(model=GoGAN, stage_updates=0), "stage_updates: got 0, allowed is 1 or more"),
        (lambda: gan(model=GoGAN, num_stages=0), "num_stages: got 0, allowed is 1 or more"),
        (lambda: gan(model=GoGAN, rank_weight=-1.0), "rank_weight: got -1.0, allowed is 0 or more"),
        (lambda: gan(model=GoGAN, margin=-1.0), "margin: got -1.0, allowed is 0 or more"),
        (lambda: MomentMatching(RationalQuadratic(), unbiased=True), "root: got true with unbiased true"),
        (lambda: AutoencoderDiscriminator((2,), power=3), r"power: got 3, allowed are \[1, 2\]"),
        (lambda: AutoencoderDiscriminator((2,), code_dim=0), "code_dim: got 0, allowed is 1 or more"),
    ],
)
def test_wrong_numbers(build, sentence):
    with pytest.raises(ValueError, match=sentence):
        build()
