"""The numbers are those of torch-fidelity for the same image files and weights."""

import pytest
from torchvision.io import write_png

from pl_genmodels.metrics import FidelityMetrics, InceptionV3

LAYER = 192  # torch-fidelity takes a minute for the eigenvalues of 2,048 features


def write_pictures(folder, images):
    folder.mkdir()
    for index, image in enumerate(images):
        write_png(image, str(folder / f"{index:04}.png"))


@pytest.fixture
def sets(tmp_path, smooth_pictures):
    real, fake = smooth_pictures(64, seed=0), smooth_pictures(64, seed=1, contrast=0.9)
    write_pictures(tmp_path / "real", real)
    write_pictures(tmp_path / "fake", fake)
    return tmp_path, real, fake


def test_agrees_with_torch_fidelity(sets, inception_weights, small_inception):
    torch_fidelity = pytest.importorskip("torch_fidelity")
    folder, real, fake = sets
    expected = torch_fidelity.calculate_metrics(
        input1=str(folder / "fake"),
        input2=str(folder / "real"),
        feature_extractor="inception-v3-compat",
        feature_extractor_weights_path=inception_weights,
        feature_layer_fid=str(LAYER),
        feature_layer_kid=str(LAYER),
        feature_layer_prc=str(LAYER),
        kid_subset_size=50,
        **dict.fromkeys(("fid", "kid", "isc", "prc"), True),
        **dict.fromkeys(("cuda", "verbose", "cache"), False),
        save_cpu_ram=True,
    )
    fidelity = FidelityMetrics(InceptionV3(inception_weights, num_features=LAYER))
    for batch in real.split(40):
        fidelity.update_real(batch)
    for batch in fake.split(33):
        fidelity.update_fake(batch.float() / 127.5 - 1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pl_genmodels.metrics.fidelity.KID_SUBSET_SIZE", 50)
        ours = {key.split("-")[0]: value for key, value in fidelity.compute().items()}
    names = {
        "fid": "frechet_inception_distance",
        "kid": "kernel_inception_distance_mean",
        "isc": "inception_score_mean",
        "precision": "precision",
        "recall": "recall",
    }
    assert 0 < expected["precision"] < 1
    assert 0 < expected["recall"] < 1
    assert expected["inception_score_mean"] > 1.2
    assert ours == {name: pytest.approx(expected[theirs], rel=1e-3) for name, theirs in names.items()}
