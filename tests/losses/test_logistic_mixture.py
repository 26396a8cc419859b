"""The discretised mixture of logistics against its definition."""

from __future__ import annotations

import itertools

import pytest
import torch

from pl_genmodels.losses import DiscretizedLogistic, DiscretizedLogisticMixture

LEVELS = torch.arange(256) / 127.5 - 1


def drawn_parameters(likelihood, channels, seed=0, spread=1.0, dtype=torch.float64):
    """Of one pixel, (1, P, 1, 1), scales between sharp and wide."""
    generator = torch.Generator().manual_seed(seed)
    count = likelihood.parameters_per_pixel(channels)
    return spread * torch.randn(1, count, 1, 1, generator=generator, dtype=dtype)


def definition(parameters, value, components, channels, step):
    """p of one pixel, component by component and channel by channel, from differences of sigmoids."""
    numbers = parameters.flatten().view(-1, components)
    share = numbers[0].softmax(0)
    total = 0.0
    for k in range(components):
        rest = iter(numbers[1 + 2 * channels :, k].tanh())
        alpha = {(c, j): next(rest) for c in range(channels) for j in range(c)}
        product = share[k]
        for c in range(channels):
            mean = numbers[1 + c, k] + sum(alpha[c, j] * value[j] for j in range(c))
            scale = numbers[1 + channels + c, k].exp()
            upper = 1.0 if value[c] == 1 else torch.sigmoid((value[c] + step / 2 - mean) / scale)
            lower = 0.0 if value[c] == -1 else torch.sigmoid((value[c] - step / 2 - mean) / scale)
            product = product * (upper - lower)
        total = total + product
    return total


@pytest.mark.parametrize("channels", [1, 2, 3])
def test_log_probability_is_the_definition(channels):
    likelihood = DiscretizedLogisticMixture(3, levels=5)
    parameters = drawn_parameters(likelihood, channels)
    for value in itertools.product([-1.0, -0.5, 1.0], repeat=channels):
        image = torch.tensor(value, dtype=torch.float64).view(1, channels, 1, 1)
        expected = definition(parameters, image.flatten(), 3, channels, 0.5)
        assert likelihood.log_prob(parameters, image).exp().item() == pytest.approx(expected.item(), rel=1e-10)


@pytest.mark.parametrize("spread", [0.1, 1.0, 4.0, 30.0])
def test_probabilities_of_all_256_values_sum_to_one(spread):
    """In single precision, from flat to sharper than a level, with means beyond the edges."""
    likelihood = DiscretizedLogisticMixture(10)
    image = LEVELS.view(-1, 1, 1, 1)
    for seed in range(20):
        parameters = drawn_parameters(likelihood, 1, seed, spread, torch.float32)
        log_prob = likelihood.log_prob(parameters.expand(256, -1, -1, -1), image)
        assert torch.isfinite(log_prob).all()
        assert abs(log_prob.exp().sum().item() - 1) <= 1e-5


def test_summing_over_green_and_blue_leaves_the_mixture_of_red():
    coupled = DiscretizedLogisticMixture(5)
    parameters = drawn_parameters(coupled, 3)
    parts = parameters.view(10, 5)
    of_red = parts[[0, 1, 4]].reshape(1, -1, 1, 1)  # logits, mean and log-scale
    rest = torch.cartesian_prod(LEVELS, LEVELS).double()
    for red in (0, 97, 255):
        value = LEVELS[red].double()
        image = torch.cat([value.expand(len(rest), 1), rest], 1)[..., None, None]
        total = coupled.log_prob(parameters.expand(len(rest), -1, -1, -1), image).logsumexp(0)
        assert total.item() == pytest.approx(coupled.log_prob(of_red, value.view(1, 1, 1, 1)).item(), abs=1e-9)


def test_gradients_are_finite_at_the_edges():
    likelihood = DiscretizedLogisticMixture(2)
    for mean, log_scale in itertools.product([-1e4, 0.0, 1e4], [-100.0, 0.0, 200.0]):
        parameters = torch.tensor([0.0, 0.0, mean, mean, log_scale, log_scale]).view(1, 6, 1, 1).requires_grad_()
        for value in (-1.0, 0.0, 1.0):
            log_prob = likelihood.log_prob(parameters, torch.full((1, 1, 1, 1), value))
            (gradient,) = torch.autograd.grad(log_prob.sum(), parameters)
            assert torch.isfinite(log_prob).all()
            assert torch.isfinite(gradient).all()


def test_draws_of_a_component_invert_its_distribution_function():
    """Evenly spaced uniform numbers give each value as often as it is probable, but for one at either end of it."""
    likelihood, count = DiscretizedLogisticMixture(1, levels=16), 100_000
    parameters = torch.tensor([0.3, 0.7, -1.0])
    uniform = torch.stack([torch.full((count,), 0.5), (torch.arange(count) + 0.5) / count], 1).double()
    drawn = likelihood.draw(parameters.double().expand(count, -1), uniform)
    values = likelihood.quantize((torch.arange(16) / 7.5 - 1).double())
    image = values.view(-1, 1, 1, 1)
    probability = likelihood.log_prob(parameters.double().view(1, 3, 1, 1).expand(16, -1, -1, -1), image).exp()
    share = (drawn == values).double().mean(0)
    assert ((share - probability).abs() <= 1.01 / count).all()
    assert share.min() > 10 / count
    assert torch.equal(drawn, drawn.sort(0).values)


def test_draws_of_a_coupled_mixture_follow_its_probabilities():
    likelihood, count = DiscretizedLogisticMixture(3, levels=3), 200_000
    parameters = 2 * drawn_parameters(likelihood, 3)
    uniform = torch.rand(count, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    drawn = likelihood.draw(parameters.flatten(1).expand(count, -1), uniform)
    pixels = torch.cartesian_prod(*[torch.tensor([-1.0, 0.0, 1.0], dtype=torch.float64)] * 3)
    probability = likelihood.log_prob(parameters.expand(27, -1, -1, -1), pixels[..., None, None]).exp()
    assert probability.sum() == pytest.approx(1, abs=1e-12)
    share = torch.stack([(drawn == pixel).all(1).double().mean() for pixel in pixels])
    error = (probability * (1 - probability) / count).sqrt()
    assert ((share - probability).abs() < 4.5 * error).all()


def test_edges_of_the_uniform_numbers_give_the_edges_of_the_range():
    likelihood = DiscretizedLogisticMixture(2)
    edge = torch.tensor([[0.0, 0.0, 0.0, 0.0], [1 - 2**-53] * 4], dtype=torch.float64)
    assert likelihood.draw(torch.zeros(2, 20), edge).tolist() == [[-1.0] * 3, [1.0] * 3]


@pytest.mark.parametrize("channels", [1, 3])
def test_mean_is_that_of_the_components(channels):
    likelihood = DiscretizedLogisticMixture(2, levels=100_001)  # so fine that rounding does not show
    parameters = torch.zeros(likelihood.parameters_per_pixel(channels) // 2, 2, dtype=torch.float64)
    parameters[0] = torch.tensor([0.0, 1.0])
    parameters[1 : 1 + channels] = torch.tensor([[-0.3, 0.4]])
    parameters[1 + channels : 1 + 2 * channels] = -5.0
    parameters[1 + 2 * channels :] = 0.5
    count = 100_000
    uniform = torch.rand(count, channels + 1, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    drawn = likelihood.draw(parameters.flatten().expand(count, -1), uniform)
    found = likelihood.mean(parameters.view(1, -1, 1, 1))
    assert found.shape == (1, channels, 1, 1)
    assert torch.allclose(found.flatten(), drawn.mean(0), atol=0.01)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [({"num_components": 0}, "num_components: got 0"), ({"levels": 1}, "levels: got 1, allowed is 2 or more")],
)
def test_bad_arguments_are_refused(arguments, sentence):
    with pytest.raises(ValueError, match=sentence):
        DiscretizedLogisticMixture(**arguments)


def test_parameters_of_other_channels_are_refused():
    likelihood = DiscretizedLogisticMixture(10)
    with pytest.raises(
        ValueError, match="parameters: got 30 a pixel, allowed for 3 channels and 10 components are 100"
    ):
        likelihood.log_prob(torch.zeros(1, 30, 2, 2), torch.zeros(1, 3, 2, 2))


# ---- one logistic for each value


def test_a_logistic_for_each_value_is_a_mixture_of_one():
    single, mixture = DiscretizedLogistic(5, log_scale=-1.3).double(), DiscretizedLogisticMixture(1, levels=5)
    mean = torch.rand(4, 3, 2, 2, dtype=torch.float64) - 0.5
    image = torch.randint(5, mean.shape) / 2.0 - 1
    nothing = torch.zeros_like(mean)
    wanted = sum(
        mixture.log_prob(torch.cat([nothing[:, :1], mean[:, c : c + 1], nothing[:, :1] - 1.3], 1), image[:, c : c + 1])
        for c in range(3)
    )
    assert torch.allclose(single.log_prob(mean, image), wanted)
    (gradient,) = torch.autograd.grad(single.log_prob(mean, image).sum(), single.log_scale)
    assert gradient != 0


@pytest.mark.parametrize("log_scale", [-9.0, -3.0, 0.0, 4.0])
@pytest.mark.parametrize("mean", [-3.0, 0.1, 1.0])
def test_probabilities_of_all_values_around_one_mean_sum_to_one(mean, log_scale):
    likelihood, image = DiscretizedLogistic(log_scale=log_scale), LEVELS.view(-1, 1, 1, 1)
    assert torch.isfinite(likelihood.log_prob(torch.full((256, 1, 1, 1), mean), image)).all()
    means = torch.full((256, 1, 1, 1), mean, dtype=torch.float64)
    assert abs(likelihood.log_prob(means, image.double()).exp().sum().item() - 1) <= 1e-7


def test_draws_of_one_logistic_follow_its_probabilities():
    likelihood = DiscretizedLogistic(4, log_scale=-1.0)
    uniform = (torch.arange(20_000) + 0.5)[:, None] / 20_000
    drawn = likelihood.draw(torch.full((20_000, 1), 0.2), uniform)
    levels = torch.linspace(-1, 1, 4)
    share = ((drawn - levels).abs() < 1e-5).float().mean(0)
    wanted = likelihood.log_prob(torch.full((4, 1, 1, 1), 0.2), levels.view(-1, 1, 1, 1)).exp()
    assert torch.allclose(share, wanted, atol=1e-3)
