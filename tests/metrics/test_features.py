import hashlib

import pytest
import torch
from torch_fidelity import feature_extractor_inceptionv3 as reference

from pl_genmodels.metrics import DigitClassifier, InceptionV3
from pl_genmodels.specs import to_spec


def test_inception_gives_torch_fidelitys_features(inception, inception_weights, small_inception):
    images = torch.randint(0, 256, (2, 3, 20, 24), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    theirs = reference.FeatureExtractorInceptionV3(
        "x", ["2048", "logits_unbiased"], feature_extractor_weights_path=inception_weights
    )
    expected, expected_logits = theirs(images)
    features, logits = inception(images)
    assert torch.equal(features, expected)
    assert torch.equal(logits, expected_logits)


def test_inception_repeats_grey_images(inception, small_inception):
    grey = torch.randint(0, 256, (1, 1, 20, 20), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    assert torch.equal(inception(grey)[0], inception(grey.repeat(1, 3, 1, 1))[0])


def test_loading_draws_no_random_numbers(inception_weights):
    before = torch.get_rng_state()
    InceptionV3(inception_weights).load()
    assert torch.equal(before, torch.get_rng_state())


def test_features_ignore_autocast(inception, small_inception):
    images = torch.full((1, 3, 8, 8), 200, dtype=torch.uint8)
    plain, _ = inception(images)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(inception(images)[0], plain)


def test_other_weights_have_another_name(inception_weights, monkeypatch):
    with open(inception_weights, "rb") as file:
        digest = hashlib.sha256(file.read()).hexdigest()[:8]
    assert InceptionV3().name == "inception-2048"
    assert InceptionV3(inception_weights, num_features=768).name == f"inception-768-{digest}"
    monkeypatch.setattr(InceptionV3, "OFFICIAL_DIGEST", digest)
    assert InceptionV3(inception_weights).name == "inception-2048"


def test_constructors_are_lazy_and_recorded():
    assert to_spec(InceptionV3("nowhere.pth", num_features=192)) == {
        "class_path": "pl_genmodels.metrics.features.InceptionV3",
        "init_args": {"weights_path": "nowhere.pth", "num_features": 192},
    }
    assert DigitClassifier(cache_dir="nowhere").network is None


def test_missing_weights_are_told_in_one_sentence(tmp_path, monkeypatch):
    with pytest.raises(FileNotFoundError, match=r"weights_path: got nowhere\.pth, which is no file"):
        InceptionV3("nowhere.pth").load()

    def no_network(*args, **kwargs):
        raise OSError("no route to host")

    monkeypatch.setattr(reference, "load_state_dict_from_url", no_network)
    with pytest.raises(FileNotFoundError, match=r"could not be fetched from https.*no route.*weights_path"):
        InceptionV3().load()
    other = tmp_path / "other.pth"
    for content in ({"weight": torch.zeros(3)}, print):
        torch.save(content, other)
        with pytest.raises(ValueError, match="which is not a state dict of torch-fidelity's InceptionV3"):
            InceptionV3(str(other)).load()


def test_refuses_layers_and_images_it_does_not_know():
    with pytest.raises(ValueError, match="num_features: got 1000, allowed are 64, 192, 768, 2048"):
        InceptionV3(num_features=1000)
    for images in (torch.zeros(2, 3, 8, 8), torch.zeros(2, 2, dtype=torch.uint8), torch.zeros(1, 2, 8, 8).byte()):
        with pytest.raises(ValueError, match="allowed is uint8 of shape"):
            DigitClassifier()(images)
