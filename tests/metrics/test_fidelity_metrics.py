import random

import numpy as np
import pytest
import torch
from torch import nn

from pl_genmodels.metrics import FeatureExtractor, FidelityMetrics, evaluate, real_state, to_uint8
from pl_genmodels.metrics.isolation import undisturbed


class Pixels(FeatureExtractor):
    """Features are four random mixtures of the pixels; logits are the first two of them, or none."""

    def __init__(self, seed: int = 0, classifier: bool = True) -> None:
        super().__init__(4)
        self.seed, self.classifier = seed, classifier

    @property
    def name(self):
        return f"pixels-{self.seed}"

    def build(self):
        torch.manual_seed(self.seed)
        return nn.Linear(3 * 8 * 8, 4, bias=False)

    def extract(self, network, images):
        features = network(images.flatten(1).float() / 64)
        return features, features[:, :2] if self.classifier else None


class Given(FeatureExtractor):
    """Features and logits are handed in by the test, through the images' first pixels."""

    def __init__(self) -> None:
        super().__init__(2)

    name = "given"

    def build(self):
        return nn.Identity()

    def extract(self, network, images):
        pixels = images[:, 0].flatten(1).float()
        return pixels[:, :2], pixels[:, 2:]


class Noise(nn.Module):
    """Sample i is noise that depends on (seed, i) only."""

    def __init__(self) -> None:
        super().__init__()
        self.dropout = nn.Dropout()
        self.gain = nn.Parameter(torch.tensor(0.9))
        self.calls = []

    def sample(self, num_samples, *, seed=None, first=0):
        assert not self.training
        self.calls.append((num_samples, seed, first))
        generators = [torch.Generator().manual_seed(seed * 10000 + first + i) for i in range(num_samples)]
        return torch.stack([torch.rand(3, 8, 8, generator=g) for g in generators]) * 2 * self.gain - self.gain


def pictures(num, seed=0):
    return torch.randint(0, 256, (num, 3, 8, 8), generator=torch.Generator().manual_seed(seed)).to(torch.uint8)


def points(values):
    """Images for `Given`: rows of pixels, the first two are features, the rest logits."""
    return torch.as_tensor(values, dtype=torch.uint8)[:, None, None, :]


def measure(metrics, real, fake, extractor=None):
    fidelity = FidelityMetrics(extractor or Given(), metrics)
    fidelity.update_real(real)
    fidelity.update_fake(fake)
    return {key.split("-")[0]: value for key, value in fidelity.compute().items()}


def test_all_bytes_survive_the_way_through_floats_and_rounding_is_to_the_nearest():
    every = torch.arange(256, dtype=torch.uint8)
    assert torch.equal(to_uint8(every.float() / 127.5 - 1), every)
    assert to_uint8(torch.tensor([-2.0, -1, 0.996, 0.9999, 1, 2])).tolist() == [0, 0, 254, 255, 255, 255]
    assert to_uint8(every) is every
    with pytest.raises(ValueError, match=r"got torch.int64, allowed are uint8, or floats in \[-1, 1\]"):
        to_uint8(torch.zeros(2, dtype=torch.int64))


def test_inception_score_of_certain_spread_classes_is_their_number_and_of_one_class_is_one():
    spread = points([[0, 0] + [255 * (i % 10 == k) for k in range(10)] for i in range(2000)])
    real = points([[0, 0, 0], [1, 1, 0]])
    assert measure(["isc"], real, spread)["isc"] == pytest.approx(10, rel=0.03)  # the 10 splits are not quite even
    assert measure(["isc"], real, spread[:1].expand(50, -1, -1, -1))["isc"] == pytest.approx(1)


def test_am_score_is_of_certainty_and_of_the_shares_of_the_classes():
    """Certain samples in the data's shares score 0; the same of one class, the KL of the shares; doubt, its entropy."""
    one_hot = lambda classes: points([[0, 0] + [255 * (c == k) for k in range(4)] for c in classes])
    uneven, doubt = one_hot([0, 0, 0, 1]), points([[0, 0, 255, 255, 0, 0]] * 3)
    assert measure(["ams"], uneven, one_hot([0, 0, 0, 1] * 5))["ams"] == pytest.approx(0, abs=1e-9)
    shares = np.array([0.75, 0.25])
    divergence = float((shares * np.log(shares / 0.5)).sum())
    assert measure(["ams"], uneven, one_hot([0, 1]))["ams"] == pytest.approx(divergence)
    assert measure(["ams"], uneven, doubt)["ams"] == pytest.approx(np.log(2) + divergence)
    thirds = float((shares * np.log(shares / np.array([1 / 3, 2 / 3]))).sum())
    assert measure(["ams"], uneven, one_hot([0, 1, 1]))["ams"] == pytest.approx(thirds)
    even = one_hot([0, 1, 2, 3])
    assert measure(["ams"], even[:1], even)["ams"] == pytest.approx(np.log(4)), "of real from generated shares"


def test_precision_and_recall_of_equal_disjoint_and_half_sets():
    grid = [[x, y] for x in range(0, 20, 2) for y in range(0, 20, 2)]
    far = [[x + 100, y + 100] for x, y in grid]
    assert measure(["prc"], points(grid), points(grid)) == {"precision": 1, "recall": 1}
    assert measure(["prc"], points(grid), points(far)) == {"precision": 0, "recall": 0}
    half = measure(["prc"], points(grid + far), points(grid))
    assert half == {"precision": 1, "recall": 0.5}


def test_kid_of_two_halves_of_one_set_is_zero_on_average_and_of_other_images_is_not():
    extractor = Pixels()
    null = [measure(["kid"], pictures(60, 2 * s), pictures(60, 2 * s + 1), extractor)["kid"] for s in range(16)]
    null = torch.tensor(null)
    assert null.mean().abs() < 3 * null.std() / 16**0.5
    assert measure(["kid"], pictures(60), pictures(60, 1) // 4, extractor)["kid"] > 10 * null.abs().max()


def test_keys_name_protocol_split_sizes_and_a_smaller_kid_subset(monkeypatch):
    fidelity = FidelityMetrics(Pixels(3), split="val")
    fidelity.update_real(pictures(30))
    fidelity.update_fake(pictures(20, 1))
    names = ("fid", "kid-subset20", "isc", "precision", "recall")
    assert list(fidelity.compute()) == [f"{name}-pixels-3-val30-fake20" for name in names]
    monkeypatch.setattr("pl_genmodels.metrics.fidelity.KID_SUBSET_SIZE", 20)
    enough = FidelityMetrics(Pixels(3), ["kid"])
    enough.update_real(pictures(20))
    enough.update_fake(pictures(21, 1))
    assert list(enough.compute()) == ["kid-pixels-3-train20-fake21"]


def test_float_images_count_like_their_bytes():
    images = pictures(40, 1)
    as_floats = images.float() / 127.5 - 1
    for metric in ("fid", "kid", "isc", "prc"):
        assert measure([metric], pictures(40), images, Pixels()) == measure([metric], pictures(40), as_floats, Pixels())


def test_one_broken_image_makes_every_result_nan():
    fakes = pictures(40, 1).float() / 127.5 - 1
    fakes[7, 0, 0, 0] = float("nan")
    results = measure(["fid", "kid", "isc", "prc"], pictures(40), fakes, Pixels())
    assert results.keys() == {"fid", "kid", "isc", "precision", "recall"}
    assert all(np.isnan(value) for value in results.values())


def test_evaluate_is_independent_of_batch_size_and_draws_exactly_the_samples_asked_for():
    model, real = Noise(), [pictures(25), pictures(12, 1)]
    metrics = ["fid", "kid", "isc", "prc"]
    expected = evaluate(model, real, Pixels(), metrics, num_samples=23, seed=5, batch_size=100)
    assert model.calls == [(23, 5, 0)]
    model.calls.clear()
    small = evaluate(model, real, Pixels(), metrics, num_samples=23, seed=5, batch_size=10)
    assert model.calls == [(10, 5, 0), (10, 5, 10), (3, 5, 20)]
    assert small == pytest.approx(expected, rel=1e-5)
    assert "fid-pixels-0-train37-fake37" in evaluate(model, real, Pixels())


def test_evaluate_equals_feeding_the_same_images_by_hand():
    model, real = Noise(), pictures(37)
    by_hand = FidelityMetrics(Pixels(), ["fid", "prc"], split="val")
    by_hand.update_real(real)
    by_hand.update_fake(model.eval().sample(20, seed=1).detach())
    batches = ({"image": part, "label": part} for part in real.split(10))
    results = evaluate(model, batches, Pixels(), ["fid", "prc"], num_samples=20, split="val", seed=1)
    assert results == pytest.approx(by_hand.compute(), rel=1e-9)


def test_evaluate_leaves_modes_and_random_numbers_as_they_were():
    class Augmented:
        def __iter__(self):
            noise = torch.rand(()) + np.random.rand() + random.random()
            yield (pictures(30) * (noise / 3).item()).byte()

    model = Noise().train()
    model.dropout.eval()
    states = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()
    first = evaluate(model, Augmented(), Pixels(), seed=3)
    assert model.training
    assert not model.dropout.training
    assert torch.equal(states[0], torch.get_rng_state())
    assert (states[1] == np.random.get_state()[1]).all()
    assert states[2] == random.getstate()
    torch.rand(3)
    assert evaluate(model, Augmented(), Pixels(), seed=3) == first


def test_undisturbed_restores_after_an_error():
    states = torch.get_rng_state(), random.getstate()

    def fail():
        with undisturbed(torch.device("cpu"), 0):
            raise RuntimeError(torch.rand(1) + random.random())

    with pytest.raises(RuntimeError):
        fail()
    assert torch.equal(states[0], torch.get_rng_state())
    assert states[1] == random.getstate()


def test_real_statistics_are_kept_by_data_split_extractor_and_kind(tmp_path):
    def read(metrics=("fid",), fingerprint="a", split="train", extractor=None):
        passes = []

        def loader():
            passes.append(1)
            yield pictures(30)

        state = real_state(
            loader(), extractor or Pixels(), metrics, split=split, fingerprint=fingerprint, cache_dir=str(tmp_path)
        )
        return state, len(passes)

    state, passes = read()
    assert passes == 1
    again, passes = read()
    assert passes == 0
    assert all(torch.equal(state[key], again[key]) for key in state)
    assert read(metrics=["kid"])[1] == 1
    assert read(metrics=["prc", "fid"])[1] == 0
    assert read(fingerprint="b")[1] == 1
    assert read(split="val")[1] == 1
    assert read(extractor=Pixels(1))[1] == 1
    assert read(fingerprint=None)[1] == 1
    files = sorted((tmp_path / "fidelity").iterdir())
    assert len(files) == 5
    for file in files:
        torch.load(file, weights_only=True)
        file.write_bytes(file.read_bytes()[:100])
    assert read()[1] == 1


def test_one_name_with_other_weights_does_not_share_kept_statistics(tmp_path):
    class Namesake(Pixels):
        name = "pixels"

    states = [
        real_state([pictures(9)], Namesake(seed), fingerprint="x", cache_dir=str(tmp_path))["total"] for seed in (0, 1)
    ]
    assert not torch.equal(*states)


def test_kept_real_statistics_give_the_same_results(tmp_path):
    model, batches = Noise(), [pictures(30)]
    metrics = ["fid", "kid", "isc", "prc", "ams"]
    expected = evaluate(model, batches, Pixels(), metrics)
    for _ in range(2):
        state = real_state(batches, Pixels(), metrics, fingerprint="x", cache_dir=str(tmp_path))
        assert evaluate(model, state, Pixels(), metrics) == expected


def test_refuses_what_it_cannot_measure():
    for metrics in (["fis"], [], "fid"):
        with pytest.raises(ValueError, match="allowed is a list of fid, kid, isc, prc, ams"):
            FidelityMetrics(Pixels(), metrics)
    with pytest.raises(ValueError, match="got 'prc' for 3 real and 20 generated images, allowed are 4 or more"):
        measure(["prc"], pictures(3), pictures(20))
    for metric in ("isc", "ams"):
        with pytest.raises(ValueError, match=f"'{metric}', which needs logits, but pixels-0 gives none"):
            measure([metric], pictures(20), pictures(20), Pixels(classifier=False))
    with pytest.raises(ValueError, match="model: got Linear, allowed are models with sample"):
        evaluate(nn.Linear(1, 1), [pictures(9)], Pixels())
    fidelity = FidelityMetrics(Pixels(), ["fid"])
    with pytest.raises(ValueError, match=r"got \['count', 'outer', 'total'\] of 2 features, allowed .* of 4"):
        fidelity.load_real_state(real_state([points([[1, 2, 3], [1, 3, 3]])], Given()))
    fidelity.load_real_state(real_state([pictures(9)], Pixels()))
    with pytest.raises(ValueError, match="complete"):
        fidelity.update_real(pictures(9))
