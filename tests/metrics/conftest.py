import pytest
import torch
from torch_fidelity import feature_extractor_inceptionv3 as reference

from pl_genmodels.metrics import InceptionV3


class UnloadedInception(reference.FeatureExtractorInceptionV3):
    INPUT_IMAGE_SIZE = 75

    def load_state_dict(self, *args, **kwargs):
        """Stay at the random weights of the constructor."""


def make_smooth_pictures(num, seed, contrast=1.0):
    """Colour pictures without sharp edges, uint8 (num, 3, 32, 32)."""
    coarse = torch.rand(num, 3, 5, 5, generator=torch.Generator().manual_seed(seed))
    smooth = torch.nn.functional.interpolate(coarse, 32, mode="bicubic")
    return ((smooth - 0.5) * contrast + 0.5).mul(255).clamp(0, 255).byte()


def write_random_inception(path, seed=0):
    """A weights file in torch-fidelity's format; its features keep their size, its logits tell pictures apart."""
    torch.save({}, path)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = UnloadedInception("inception-v3-compat", ["2048"], feature_extractor_weights_path=str(path))
        for name, weight in network.named_parameters():
            if name.endswith("conv.weight"):
                torch.nn.init.kaiming_normal_(weight, nonlinearity="relu")
        (features,) = network(make_smooth_pictures(16, seed=99))
        common = torch.nn.functional.normalize(features.mean(0), dim=0)
        weight = torch.randn(1008, 2048)
        weight -= torch.outer(weight @ common, common)
        network.fc.weight.copy_(weight / (features @ weight.T).std())
    torch.save(network.state_dict(), path)
    return str(path)


@pytest.fixture(scope="session")
def inception_weights(tmp_path_factory):
    return write_random_inception(tmp_path_factory.mktemp("inception") / "weights.pth")


@pytest.fixture(scope="session")
def inception(inception_weights):
    return InceptionV3(inception_weights)


@pytest.fixture
def small_inception(monkeypatch):
    """Run Inception at its smallest size instead of 299 x 299, in torch-fidelity's class and so on both sides."""
    monkeypatch.setattr(reference.FeatureExtractorInceptionV3, "INPUT_IMAGE_SIZE", 75)


@pytest.fixture
def smooth_pictures():
    return make_smooth_pictures
