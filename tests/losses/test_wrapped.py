import pytest
import torch
import torch.nn.functional as F

from pl_genmodels.losses import Hinge, LabelNoise, LeastSquares, LeCam, NonSaturating, Relativistic, Wasserstein

LOGITS = torch.linspace(-3, 3, 9, dtype=torch.float64)


def test_a_fixed_label_is_the_cross_entropy_of_a_soft_target():
    loss = LabelNoise(NonSaturating(), real=(0.9, 0.9), fake=(0.1, 0.1), flip_probability=0.0)
    real, fake = LOGITS, LOGITS.flip(0)
    targets = torch.full_like(real, 0.9), torch.full_like(fake, 0.1)
    expected = sum(
        F.binary_cross_entropy_with_logits(x, t, reduction="none") for x, t in zip((real, fake), targets, strict=True)
    )
    assert torch.allclose(loss.discriminator(real, fake), expected, rtol=0, atol=1e-12)
    assert torch.equal(loss.generator(fake), NonSaturating().generator(fake))


def test_least_squares_aims_at_the_label():
    loss = LabelNoise(LeastSquares(), real=(1.2, 1.2), fake=(0.3, 0.3), flip_probability=0.0)
    logits = LOGITS.clone().requires_grad_()
    other = torch.zeros_like(logits)
    (gradient,) = torch.autograd.grad(loss.discriminator(logits, other).sum(), logits)
    assert torch.allclose(gradient, LOGITS - 1.2)
    (gradient,) = torch.autograd.grad(loss.discriminator(other, logits).sum(), logits)
    assert torch.allclose(gradient, LOGITS - 0.3)


class Labels(NonSaturating):
    """Shows the label itself: t + (1 - t) * 0."""

    def as_real(self, logits):
        return torch.ones_like(logits)

    def as_fake(self, logits):
        return torch.zeros_like(logits)


@pytest.mark.parametrize("flip", [0.0, 0.2])
def test_labels_follow_their_law(flip):
    """Each sample has a label of its own; flipped ones come from the other side's range."""
    torch.manual_seed(0)
    loss, count = LabelNoise(Labels(), flip_probability=flip), 20_000
    zeros = torch.zeros(count)
    real = loss._draw(zeros, loss.real, loss.fake)
    fake = loss._draw(zeros, loss.fake, loss.real)
    for labels, (least, largest) in ((real, (0.7, 1.2)), (fake, (0.0, 0.3))):
        usual = (labels >= least) & (labels <= largest)
        assert abs(float((~usual).double().mean()) - flip) <= 0.01
        assert abs(float(labels[usual].mean()) - (least + largest) / 2) <= 0.005
        assert labels[usual].min() < least + 0.01
        assert labels[usual].max() > largest - 0.01
    assert torch.allclose(loss.discriminator(zeros, zeros).mean(), real.mean() + fake.mean(), atol=0.02)


@pytest.mark.parametrize("loss", [Wasserstein(), Relativistic()], ids=lambda loss: type(loss).__name__)
def test_losses_without_labels_are_refused(loss):
    with pytest.raises(ValueError, match=f"loss: got {type(loss).__name__}, which has no labels"):
        LabelNoise(loss)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"real": (1.2, 0.7)}, "real: got"),
        ({"fake": (0.3, 0.0)}, "fake: got"),
        ({"flip_probability": 1.5}, "flip_probability: got 1.5"),
    ],
)
def test_bad_labels(arguments, sentence):
    with pytest.raises(ValueError, match=sentence):
        LabelNoise(**arguments)


def test_lecam_pulls_to_the_averages_of_the_other_side():
    """The recursion of the averages, and the term, by hand over three steps."""
    loss = LeCam(Hinge(), weight=0.5, decay=0.9).double()
    average = None
    torch.manual_seed(0)
    for _ in range(3):
        real, fake = torch.randn(2, 6, dtype=torch.float64)
        means = torch.stack([real.mean(), fake.mean()])
        average = means if average is None else 0.9 * average + 0.1 * means
        expected = Hinge().discriminator(real, fake)
        expected = expected + 0.5 * (real - average[1]) ** 2 + 0.5 * (fake - average[0]) ** 2
        assert torch.allclose(loss.discriminator(real, fake), expected, rtol=0, atol=1e-12)
    assert torch.allclose(loss.averages, average)
    assert torch.equal(loss.generator(fake), -fake)
    assert loss.steps == 3, "the generator's turn leaves the averages alone"


def test_lecam_passes_on_what_its_loss_needs():
    assert LeCam(Relativistic()).generator_needs_real
    assert not LeCam(Hinge()).generator_needs_real
    with pytest.raises(ValueError, match=r"decay: got 1\.0"):
        LeCam(decay=1.0)
    with pytest.raises(ValueError, match="weight: got -1"):
        LeCam(weight=-1)
