import math
from functools import partial

import pytest
import torch
from torch import nn

from pl_genmodels.layers import (
    BiasedLeakyReLU,
    FIRDownsample,
    FIRUpsample,
    FixupBottleneck,
    InputDownBlock,
    ResidualBlock,
    downsample_mean,
    resampling_kernel,
    upsample_nearest,
)
from pl_genmodels.losses import NonSaturating
from pl_genmodels.networks import (
    DCGANDiscriminator,
    DCGANEncoder,
    DCGANGenerator,
    MLPDiscriminator,
    MLPGenerator,
    NormalPrior,
    R3GANDiscriminator,
    R3GANGenerator,
    ResNetDiscriminator,
    ResNetGenerator,
    UniformPrior,
)

R3 = {"channels": 8, "blocks_per_stage": 1, "cardinality": 2}
GENERATORS = {
    "mlp": partial(MLPGenerator, hidden_dim=8),
    "mlp-bn": partial(MLPGenerator, hidden_dim=8, batch_norm=True),
    "dcgan": partial(DCGANGenerator, channels=4),
    "dcgan-nearest": partial(DCGANGenerator, channels=4, upsampling="nearest"),
    "resnet": partial(ResNetGenerator, channels=4),
    "r3gan": partial(R3GANGenerator, **R3),
}
DISCRIMINATORS = {
    "mlp": partial(MLPDiscriminator, hidden_dim=8, gain=2.0),
    "dcgan": partial(DCGANDiscriminator, channels=4),
    "dcgan-plain": partial(DCGANDiscriminator, channels=4, batch_norm=False),
    "resnet": partial(ResNetDiscriminator, channels=4),
    "resnet-sum": partial(ResNetDiscriminator, channels=4, pooling="sum", output_bias=False),
    "r3gan": partial(R3GANDiscriminator, **R3),
}
WITHOUT_BATCH_NORM = ["mlp", "dcgan-plain", "resnet", "resnet-sum", "r3gan"]
SMALLEST = {"mlp": 4, "dcgan": 8, "resnet": 16, "r3gan": 4}


def count(network):
    return sum(weight.numel() for weight in network.parameters())


def shapes(kind):
    smallest = SMALLEST[kind.split("-")[0]]
    return [(1, smallest, smallest), (3, 2 * smallest, 2 * smallest), (5, 4 * smallest, 4 * smallest)]


@pytest.mark.parametrize("kind", GENERATORS)
def test_generators_take_any_size_and_channels(kind):
    for shape in shapes(kind):
        generator = GENERATORS[kind](shape, latent_dim=6)
        samples = generator(torch.randn(2, 6))
        assert samples.shape == (2, *shape)
        assert samples.isfinite().all()


@pytest.mark.parametrize("kind", DISCRIMINATORS)
def test_discriminators_take_any_size_and_channels(kind):
    for shape in shapes(kind):
        assert DISCRIMINATORS[kind](shape)(torch.randn(3, *shape)).shape == (3,)
        assert DISCRIMINATORS[kind](shape).eval()(torch.randn(1, *shape)).shape == (1,)


def test_points_pass_the_mlps():
    assert MLPGenerator((2,), latent_dim=3)(torch.randn(4, 3)).shape == (4, 2)
    assert MLPGenerator((2,), latent_dim=3)(1e4 * torch.randn(4, 3)).abs().max() > 1  # no tanh
    assert MLPDiscriminator((2,))(torch.randn(4, 2)).shape == (4,)


def test_gain_multiplies_the_logit():
    single, double = MLPDiscriminator((2,)), MLPDiscriminator((2,), gain=2.0)
    double.load_state_dict(single.state_dict())
    points = torch.randn(4, 2)
    torch.testing.assert_close(double(points), 2 * single(points))


@pytest.mark.parametrize(
    ("network", "parameters"),
    [
        (partial(DCGANGenerator, (3, 64, 64)), 3_576_704),
        (partial(DCGANDiscriminator, (3, 64, 64)), 2_765_568),
        (partial(DCGANEncoder, (3, 64, 64), 100), 3_576_576),
        (partial(ResNetGenerator, (3, 32, 32)), 1_204_483),
        (partial(ResNetGenerator, (3, 32, 32), channels=256), 4_276_739),
        (partial(ResNetDiscriminator, (3, 32, 32)), 1_053_825),
        (partial(ResNetDiscriminator, (3, 32, 32), pooling="sum", output_bias=False), 1_053_824),
        # 8 blocks of 2 x 768 x 1536 + 9 x 16 x 1536 + 2 x 1536, and basis, linear and 1x1 layers
        (partial(R3GANGenerator, (3, 32, 32)), 8 * 2_583_552 + 16 * 768 + 64 * 768 + 3 * 768),
        (partial(R3GANDiscriminator, (3, 32, 32)), 8 * 2_583_552 + 16 * 768 + 768 + 3 * 768),
    ],
    ids=lambda value: value.func.__name__ if isinstance(value, partial) else str(value),
)
def test_the_papers_networks_have_their_size(network, parameters):
    with torch.device("meta"):
        assert count(network()) == parameters


@pytest.mark.parametrize("kind", ["mlp", "mlp-bn", "dcgan", "resnet"])
def test_tanh_generators_stay_in_range_and_start_unsaturated(kind):
    torch.manual_seed(0)
    generator = GENERATORS[kind]((3, 16, 16), latent_dim=16)
    samples = generator(torch.randn(64, 16))
    assert samples.abs().max() <= 1
    assert samples.abs().mean() < 0.7
    assert samples.std(0).mean() > 0.005  # latents matter
    assert generator(1e3 * torch.randn(64, 16)).abs().max() <= 1


def test_r3gan_is_not_bounded():
    assert GENERATORS["r3gan"]((3, 16, 16))(100 * torch.randn(4, 64)).abs().max() > 1


@torch.no_grad()
@pytest.mark.parametrize("network", [DCGANGenerator, DCGANDiscriminator])
def test_dcgan_starts_as_the_authors_code(network):
    torch.manual_seed(0)
    for module in network((3, 32, 32)).modules():
        if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
            assert module.weight.std() == pytest.approx(0.02, abs=1e-3)
            assert module.weight.mean() == pytest.approx(0, abs=2e-3)
        elif isinstance(module, nn.BatchNorm2d):
            assert module.weight.mean() == pytest.approx(1, abs=0.01)
            assert module.weight.std() == pytest.approx(0.02, abs=5e-3)
            assert not module.bias.any()


def test_dcgan_normalises_neither_input_nor_output_and_biases_only_without_normalisation():
    def kinds(network):
        return [type(module) for module in network.layers]

    generator, discriminator = DCGANGenerator((3, 32, 32)), DCGANDiscriminator((3, 32, 32))
    assert kinds(generator)[-2:] == [nn.ConvTranspose2d, nn.Tanh]
    assert kinds(generator).count(nn.BatchNorm2d) == 3
    assert kinds(discriminator)[:3] == [nn.Conv2d, nn.LeakyReLU, nn.Conv2d]
    assert kinds(discriminator).count(nn.BatchNorm2d) == 2
    assert not any(layer.bias is not None for layer in discriminator.layers if isinstance(layer, nn.Conv2d))
    plain = DCGANDiscriminator((3, 32, 32), batch_norm=False)
    assert nn.BatchNorm2d not in kinds(plain)
    assert all(layer.bias is not None for layer in plain.layers if isinstance(layer, nn.Conv2d))


@torch.no_grad()
@pytest.mark.parametrize(("upsampling", "flat"), [("nearest", True), ("transposed", False)])
def test_nearest_neighbours_leave_flat_what_is_flat(upsampling, flat):
    torch.manual_seed(0)
    generator = DCGANGenerator((3, 32, 32), 6, 4, upsampling).double().eval()
    start = generator.layers[0].weight
    start.copy_(start[:, :, :1, :1].expand_as(start))  # the same at all 4x4 places
    inner = generator(torch.randn(2, 6).double())[:, :, 7:-7, 7:-7]  # the frame's zeros reach 1, 3 and 7 pixels in
    ripple = (inner - inner.mean((2, 3), keepdim=True)).abs().max() / inner.abs().max()
    assert (ripple < 1e-12) == flat
    assert flat or ripple > 0.1


def glorot_bound(layer, gain):
    receptive = layer.weight[0, 0].numel()
    return gain * math.sqrt(6 / (receptive * sum(layer.weight.shape[:2])))


@torch.no_grad()
@pytest.mark.parametrize("network", [ResNetGenerator, ResNetDiscriminator])
def test_resnets_start_glorot_uniform(network):
    torch.manual_seed(0)
    seen = set()
    for key, layer in network((3, 32, 32), channels=32).named_modules():
        if isinstance(layer, (nn.Conv2d, nn.Linear)):
            branch = key.rsplit(".", 1)[-1] in ("conv1", "conv2")
            seen.add(branch)
            bound = glorot_bound(layer, math.sqrt(2) if branch else 1.0)
            assert layer.weight.abs().max() <= bound
            assert layer.weight.abs().max() > 0.9 * bound
            assert layer.weight.std() == pytest.approx(bound / math.sqrt(3), rel=0.1)
            assert not layer.bias.any()
    assert seen == {True, False}


def test_resnet_critic_has_no_batch_norm_and_the_generator_one_before_each_relu():
    def norms(network):
        return sum(isinstance(module, nn.BatchNorm2d) for module in network.modules())

    assert norms(ResNetDiscriminator((3, 32, 32), channels=4)) == 0
    assert norms(ResNetGenerator((3, 32, 32), channels=4)) == 2 * 3 + 1


def test_sum_pooling_is_64_times_mean_pooling():
    mean = ResNetDiscriminator((1, 32, 32), channels=4)
    total = ResNetDiscriminator((1, 32, 32), channels=4, pooling="sum")
    total.load_state_dict(mean.state_dict())
    images = torch.randn(2, 1, 32, 32)
    torch.testing.assert_close(total(images), 64 * mean(images))  # the last features are 8x8 at every size
    torch.testing.assert_close(mean(images), mean.end(mean.blocks(images).relu().mean((2, 3))).squeeze(1))


@pytest.mark.parametrize("resample", ["none", "up", "down"])
def test_residual_block_equals_its_formula(resample):
    torch.manual_seed(0)
    block, features = ResidualBlock(3, 5, resample), torch.randn(2, 3, 8, 8)
    up = upsample_nearest if resample == "up" else nn.Identity()
    down = downsample_mean if resample == "down" else nn.Identity()
    branch = down(block.conv2(block.conv1(up(features.relu())).relu()))
    torch.testing.assert_close(block(features), down(block.shortcut(up(features))) + branch)
    assert block.conv1.out_channels == (3 if resample == "down" else 5)
    assert block(features).shape == (2, 5, *{"none": (8, 8), "up": (16, 16), "down": (4, 4)}[resample])


def test_input_block_equals_its_formula():
    block, image = InputDownBlock(3, 5), torch.randn(2, 3, 8, 8)
    expected = downsample_mean(block.conv2(block.conv1(image).relu())) + block.shortcut(downsample_mean(image))
    torch.testing.assert_close(block(image), expected)


@pytest.mark.parametrize("kind", WITHOUT_BATCH_NORM)
def test_penalised_critics_do_not_mix_samples(kind):
    torch.manual_seed(0)
    discriminator = DISCRIMINATORS[kind]((1, 16, 16))
    images = torch.randn(3, 1, 16, 16)
    one_by_one = torch.cat([discriminator(image[None]) for image in images])
    torch.testing.assert_close(discriminator(images), one_by_one)


@pytest.mark.parametrize("generator", GENERATORS)
@pytest.mark.parametrize("discriminator", ["mlp", "dcgan", "dcgan-plain", "resnet", "resnet-sum", "r3gan"])
def test_gradient_reaches_every_parameter(generator, discriminator):
    torch.manual_seed(0)
    shape, loss = (3, 16, 16), NonSaturating()
    generator, discriminator = GENERATORS[generator](shape, latent_dim=6), DISCRIMINATORS[discriminator](shape)
    for network in (generator, discriminator):
        for module in network.modules():
            if isinstance(module, FixupBottleneck):  # as after the first step: a branch behind zeros gets no gradient
                nn.init.normal_(module.conv3.weight, 0, 0.1)
    latents = torch.randn(8, 6)
    loss.generator(discriminator(generator(latents))).mean().backward()
    for key, weight in generator.named_parameters():
        assert weight.grad is not None, key
        assert weight.grad.abs().sum() > 0, key
    discriminator.zero_grad()
    real, fake = discriminator(torch.randn(8, *shape)), discriminator(generator(latents).detach())
    loss.discriminator(real, fake).mean().backward()
    for key, weight in discriminator.named_parameters():
        assert weight.grad is not None, key
        assert weight.grad.abs().sum() > 0, key


@torch.no_grad()
@pytest.mark.parametrize("network", [R3GANGenerator, R3GANDiscriminator])
def test_r3gan_starts_with_empty_branches(network):
    torch.manual_seed(0)
    net = network((3, 16, 16), channels=64, cardinality=8)
    blocks = [module for module in net.modules() if isinstance(module, FixupBottleneck)]
    assert len(blocks) == 6
    for block in blocks:
        features = torch.randn(2, 64, 8, 8)
        assert torch.equal(block(features), features)
        gain = math.sqrt(2 / (1 + 0.2**2)) * 6 ** (-1 / 4)
        assert block.conv1.weight.std() == pytest.approx(gain / math.sqrt(64), rel=0.03)
        assert block.conv2.weight.std() == pytest.approx(gain / math.sqrt(9 * 128 / 8), rel=0.03)
    inputs = [torch.randn(4, *((64,) if network is R3GANGenerator else (3, 16, 16))) for _ in range(2)]
    torch.testing.assert_close(net(inputs[0] - 2 * inputs[1]), net(inputs[0]) - 2 * net(inputs[1]), atol=1e-4, rtol=0)


def test_r3gan_block_equals_its_formula():
    torch.manual_seed(0)
    block, features = FixupBottleneck(4, cardinality=2, expansion=3, depth=1), torch.randn(2, 4, 5, 5)
    for weight in block.parameters():
        nn.init.normal_(weight)

    def activation(x, bias):
        x = x + bias[:, None, None]
        return torch.maximum(x, 0.2 * x)

    branch = activation(block.conv1(features), block.activation1.bias)
    branch = activation(block.conv2(branch), block.activation2.bias)
    torch.testing.assert_close(block(features), features + block.conv3(branch))
    assert [layer.groups for layer in (block.conv1, block.conv2, block.conv3)] == [1, 2, 1]


@torch.no_grad()
def test_r3gan_ends_start_at_unit_variance():
    torch.manual_seed(0)
    sizes = {"channels": 512, "cardinality": 16, "blocks_per_stage": 1}
    generator, discriminator = R3GANGenerator((3, 4, 4), **sizes), R3GANDiscriminator((3, 4, 4), **sizes)
    depthwise = discriminator.layers[-2]
    assert depthwise.groups == 512
    for weight, fan_in in [
        (generator.basis, 1),
        (generator.start.weight, 64),
        (generator.layers[-1].weight, 512),
        (discriminator.layers[0].weight, 3),
        (depthwise.weight, 16),
        (discriminator.end.weight, 512),
    ]:
        assert weight.std() == pytest.approx(fan_in**-0.5, rel=0.1)
    assert generator(torch.randn(256, 64)).std() == pytest.approx(1, abs=0.15)


@torch.no_grad()
def test_biased_leaky_relu_states_the_gain_that_keeps_the_variance():
    torch.manual_seed(0)
    activation = BiasedLeakyReLU(1)
    out = activation(activation.gain * torch.randn(1, 1, 1000, 1000))
    assert out.square().mean() == pytest.approx(1, abs=0.01)


def test_r3gan_widths_run_from_coarse_to_fine_in_both_networks():
    widths, groups = [16, 8, 4], [8, 4, 2]
    generator = R3GANGenerator((3, 16, 16), channels=widths, cardinality=groups, blocks_per_stage=1)
    discriminator = R3GANDiscriminator((3, 16, 16), channels=widths, cardinality=groups, blocks_per_stage=1)
    assert generator.basis.shape == (16, 4, 4)
    assert generator.layers[-1].in_channels == 4
    assert discriminator.layers[0].out_channels == 4
    assert discriminator.end.in_features == 16
    assert discriminator(generator(torch.randn(2, 64))).shape == (2,)
    for network in (generator, discriminator):  # biases are in the activations alone
        assert all("activation" in key for key, _ in network.named_parameters() if "bias" in key)


def test_low_pass_kernel_is_linear_interpolation():
    line = torch.tensor([1.0, 3.0, 3.0, 1.0]) / 8
    torch.testing.assert_close(resampling_kernel((1, 2, 1)), torch.outer(line, line))


def test_upsampling_interpolates_with_zeros_around():
    features = torch.randn(2, 3, 5, 4)
    framed = nn.functional.pad(features, (1, 1, 1, 1))
    expected = nn.functional.interpolate(framed, scale_factor=2.0, mode="bilinear", align_corners=False)
    torch.testing.assert_close(FIRUpsample()(features), expected[:, :, 2:-2, 2:-2])


@pytest.mark.parametrize(("layer", "edge"), [(FIRUpsample, 3 / 4), (FIRDownsample, 7 / 8)])
def test_resampling_keeps_a_constant_inside_and_fades_it_at_the_border(layer, edge):
    out = layer()(torch.ones(1, 2, 8, 8))
    side = torch.ones(out.shape[-1])
    side[0] = side[-1] = edge
    torch.testing.assert_close(out, torch.outer(side, side).expand_as(out))


def test_downsampling_is_the_adjoint_of_upsampling_over_four():
    small, large = torch.randn(2, 3, 4, 4), torch.randn(2, 3, 8, 8)
    product = (FIRUpsample()(small) * large).sum()
    torch.testing.assert_close(product, 4 * (small * FIRDownsample()(large)).sum())


def test_there_and_back_blurs_but_keeps_ramps():
    ramp = torch.arange(8.0).expand(1, 1, 8, 8)
    back = FIRDownsample()(FIRUpsample()(ramp))
    torch.testing.assert_close(back[..., 2:-2, 2:-2], ramp[..., 2:-2, 2:-2])
    impulse = torch.zeros(1, 1, 9, 9)
    impulse[..., 4, 4] = 1
    line = torch.tensor([3.0, 10.0, 3.0]) / 16  # (1, 3, 3, 1) / 4 and (1, 3, 3, 1) / 8 at every second lag
    torch.testing.assert_close(
        FIRDownsample()(FIRUpsample()(impulse))[0, 0, 3:6, 3:6], torch.outer(line, line), atol=1e-6, rtol=0
    )


def test_resampling_filters_are_no_weights():
    for layer in (FIRUpsample(), FIRDownsample()):
        assert not list(layer.parameters())
        assert not layer.state_dict()


def test_priors():
    device = torch.device("cpu")
    for prior, bound in ((NormalPrior(), math.inf), (UniformPrior(math.sqrt(3)), math.sqrt(3))):
        latents = prior.sample(4000, 5, torch.Generator().manual_seed(0), device)
        assert latents.shape == (4000, 5)
        assert latents.mean() == pytest.approx(0, abs=0.03)
        assert latents.std() == pytest.approx(1, abs=0.03)
        assert latents.abs().max() <= bound
        again = prior.sample(4000, 5, torch.Generator().manual_seed(0), device)
        assert torch.equal(latents, again)
        assert not torch.equal(prior.sample(4, 5, None, device), prior.sample(4, 5, None, device))
    assert UniformPrior(2.0).sample(4000, 1, None, device).abs().max() > 1.9


@pytest.mark.parametrize(
    ("build", "sentence"),
    [
        (lambda: DCGANGenerator((1, 28, 28)), "DCGANGenerator: got images of 28x28, allowed are squares of side 8, 16"),
        (lambda: DCGANDiscriminator((2,)), r"DCGANDiscriminator: got image_shape \(2,\), allowed are pictures"),
        (lambda: DCGANGenerator((1, 4, 4)), "got images of 4x4"),
        (lambda: DCGANGenerator((1, 8, 8), upsampling="b"), "upsampling: got 'b', allowed are 'transposed', 'nearest'"),
        (lambda: ResNetGenerator((1, 8, 8)), "ResNetGenerator: got images of 8x8, allowed are squares of side 16, 32"),
        (lambda: ResNetDiscriminator((1, 32, 16)), "ResNetDiscriminator: got images of 32x16"),
        (lambda: ResNetDiscriminator((1, 32, 32), pooling="max"), "pooling: got 'max', allowed are 'mean', 'sum'"),
        (lambda: R3GANGenerator((1, 12, 12)), "R3GANGenerator: got images of 12x12, allowed are squares of side 4, 8"),
        (lambda: R3GANDiscriminator((2,)), r"R3GANDiscriminator: got image_shape \(2,\)"),
        (lambda: R3GANGenerator((1, 8, 8), channels=[8, 8, 8]), r"channels: got \[8, 8, 8\], .* for 2 stages"),
        (lambda: R3GANGenerator((1, 8, 8), channels=8, cardinality=5), "cardinality: got 5, .* channels = 16"),
        (lambda: R3GANGenerator((1, 8, 8), cardinality=[4, 0]), r"cardinality: got \[4, 0\]"),
        (lambda: R3GANDiscriminator((1, 8, 8), blocks_per_stage=0), "blocks_per_stage: got 0, allowed is 1 or more"),
        (lambda: R3GANDiscriminator((1, 8, 8), expansion=0), "expansion: got 0"),
        (lambda: MLPGenerator((2,), latent_dim=0), "latent_dim: got 0, allowed is 1 or more"),
        (lambda: UniformPrior(0.0), "bound: got 0.0"),
        (lambda: ResidualBlock(2, 2, "left"), "resample: got 'left', allowed are 'none', 'up', 'down'"),
        (lambda: FIRUpsample((1, 1)), r"taps: got \[1, 1\], allowed is an odd number"),
    ],
)
def test_error_sentences(build, sentence):
    with pytest.raises(ValueError, match=sentence):
        build()
