import pytest
import torch
import torch.nn.functional as F

from pl_genmodels.metrics import DigitClassifier, FidelityMetrics
from pl_genmodels.metrics.cache import load_cached
from pl_genmodels.metrics.digit_classifier import digits, train


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("digits")


@pytest.fixture(scope="module")
def classifier(folder):
    extractor = DigitClassifier(cache_dir=str(folder))
    extractor.load()
    return extractor


@pytest.mark.parametrize(("size", "channels"), [(8, 1), (16, 1), (32, 3)])
def test_recognises_held_out_digits_of_any_size(classifier, size, channels):
    _, _, images, labels = digits()
    larger = F.interpolate(images.float(), size, mode="bilinear").round().to(torch.uint8).expand(-1, channels, -1, -1)
    features, logits = classifier(larger)
    assert features.shape == (len(images), classifier.num_features)
    assert features.dtype == logits.dtype == torch.float32
    assert (logits.argmax(1) == labels).float().mean() >= 0.96


def test_second_use_reads_the_file(classifier, folder, monkeypatch):
    monkeypatch.setattr("pl_genmodels.metrics.digit_classifier.train", lambda *args: pytest.fail("trained again"))
    again = DigitClassifier(cache_dir=str(folder))
    assert again.digest() == classifier.digest()
    assert [file.name for file in folder.iterdir()] == [DigitClassifier.FILE]


@pytest.mark.parametrize("damage", [b"", b"no weights", "half"])
def test_damaged_file_is_replaced(classifier, tmp_path, monkeypatch, damage):
    file = tmp_path / DigitClassifier.FILE
    torch.save(classifier.network.state_dict(), file)
    file.write_bytes(file.read_bytes()[:5000] if damage == "half" else damage)
    monkeypatch.setattr("pl_genmodels.metrics.digit_classifier.train", lambda *args: classifier.network)
    assert DigitClassifier(cache_dir=str(tmp_path)).digest() == classifier.digest()
    assert torch.load(file, weights_only=True).keys() == classifier.network.state_dict().keys()


def test_code_in_a_cached_file_is_not_run(tmp_path):
    torch.save({"weight": pytest.fail}, tmp_path / "file")
    assert load_cached(tmp_path / "file") is None


def test_unwritable_folder_is_no_obstacle(classifier, tmp_path, monkeypatch):
    blocker = tmp_path / "file"
    blocker.write_text("")
    monkeypatch.setattr("pl_genmodels.metrics.digit_classifier.train", lambda *args: classifier.network)
    assert DigitClassifier(cache_dir=str(blocker / "folder")).digest() == classifier.digest()


def test_default_folder_is_the_users_cache(classifier, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr("pl_genmodels.metrics.digit_classifier.train", lambda *args: classifier.network)
    DigitClassifier().load()
    assert (tmp_path / "pl_genmodels" / DigitClassifier.FILE).is_file()


def test_training_is_repeatable_and_leaves_random_numbers_threads_and_modes_alone():
    images, labels, _, _ = digits()
    before, threads = torch.get_rng_state(), torch.get_num_threads()
    with torch.no_grad():
        first = train(images[:256], labels[:256], epochs=1)
        torch.rand(5)
        torch.set_rng_state(before)
        second = train(images[:256], labels[:256], epochs=1)
    assert torch.equal(before, torch.get_rng_state())
    assert torch.get_num_threads() == threads
    for one, other in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(one, other)


def test_building_inside_inference_mode_gives_ordinary_weights(classifier, tmp_path, monkeypatch):
    images, labels, _, _ = digits()
    monkeypatch.setattr("pl_genmodels.metrics.digit_classifier.train", lambda *_: train(images[:64], labels[:64], 1))
    extractor = DigitClassifier(cache_dir=str(tmp_path))
    with torch.inference_mode():
        extractor.load()
    assert not any(parameter.is_inference() for parameter in extractor.parameters())


def test_judges_digits_better_than_noise_and_sees_missing_classes(classifier):
    images, labels, held_out, _ = digits()
    noise = torch.randint(0, 256, held_out.shape, generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    results = {}
    for name, fakes in {"digits": held_out, "noise": noise, "ones": images[labels == 1]}.items():
        fidelity = FidelityMetrics(classifier, ["fid", "isc", "prc"])
        fidelity.update_real(images)
        fidelity.update_fake(fakes)
        results[name] = {key.split("-")[0]: value for key, value in fidelity.compute().items()}
    assert results["digits"]["fid"] < 0.05 * results["noise"]["fid"]
    assert results["digits"]["fid"] < 0.05 * results["ones"]["fid"]
    assert results["digits"]["isc"] > 8
    assert results["ones"]["isc"] < 1.5
    assert results["digits"]["precision"] > 0.8
    assert results["digits"]["recall"] > 0.8
    assert results["noise"]["precision"] < 0.1
    assert results["ones"]["recall"] < 0.5


def test_refuses_tiny_images(classifier):
    with pytest.raises(ValueError, match="got 4 x 4 pixels, allowed is 8 x 8"):
        classifier(torch.zeros(2, 1, 4, 4, dtype=torch.uint8))
