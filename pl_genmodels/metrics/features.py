"""Networks that turn images into the features that generators are judged by."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor, nn

from pl_genmodels.metrics.processes import first_process_first
from pl_genmodels.specs import Recorded


class FeatureExtractor(Recorded, nn.Module, ABC):
    """Turns uint8 images into features, and where it is a classifier also into logits.

    Constructors are cheap and take plain arguments; weights are read, fetched or trained at first use, without drawing
    from the caller's random numbers.

    Args:
        num_features: Length d of a feature vector.
    """

    def __init__(self, num_features: int) -> None:
        super().__init__()
        self.num_features = num_features
        self.network: nn.Module | None = None

    @property
    @abstractmethod
    def name(self) -> str:
        """Protocol part of every key in the results, like `inception-2048`; other weights, another name."""

    @abstractmethod
    def build(self) -> nn.Module:
        """Make the network with its weights."""

    @abstractmethod
    def extract(self, network: nn.Module, images: Tensor) -> tuple[Tensor, Tensor | None]:
        """Features (B, d) and logits (B, K), or None, of uint8 images (B, C, H, W) on the network's device."""

    def load(self) -> nn.Module:
        """The network with its weights; the first call makes it, and all processes must make that call together."""
        if self.network is None:
            # A validation loop runs in inference mode, where weights could be neither trained nor used outside of it.
            with torch.inference_mode(False), torch.random.fork_rng(devices=[]), first_process_first():
                self.network = self.build().float().requires_grad_(False).eval()
        return self.network

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor | None]:
        """Features and logits of images.

        Args:
            images: uint8, (B, C, H, W), with 1 or 3 channels.

        Returns:
            Features (B, d) and logits (B, K), both float32; None for logits if the network is no classifier.

        Raises:
            ValueError: If the images are of another kind.
        """
        if images.dtype != torch.uint8 or images.ndim != 4 or images.shape[1] not in (1, 3):
            raise ValueError(
                f"images: got {images.dtype} of shape {tuple(images.shape)}, "
                "allowed is uint8 of shape (B, C, H, W) with C 1 or 3"
            )
        network = self.load().to(images.device)
        with torch.no_grad(), torch.autocast(images.device.type, enabled=False):
            features, logits = self.extract(network, images)
        return features.float(), None if logits is None else logits.float()

    def digest(self) -> str:
        """Hash of the weights: whoever keeps features must not mix those of two networks under one name."""
        sha = hashlib.sha256()
        for key, value in sorted(self.load().state_dict().items()):
            sha.update(key.encode())
            sha.update(value.detach().cpu().contiguous().numpy().tobytes())
        return sha.hexdigest()


class InceptionV3(FeatureExtractor):
    """The InceptionV3 of the published FID, KID and IS: TensorFlow's weights of 2015-12-05 as torch-fidelity runs them.

    Images are enlarged to 299 x 299 as TensorFlow 1 did, without anti-aliasing. Logits leave out the last layer's
    bias, as the published inception scores do. Grey images are repeated to 3 channels.

    Reference: Szegedy et al., "Rethinking the Inception architecture for computer vision", 2016; Heusel et al., 2017.

    Args:
        weights_path: State dict in torch-fidelity's format; by default torch-fidelity's own file is downloaded once.
            A file with other weights gets part of its hash in `name`.
        num_features: Length of the features, from one of the layers 64, 192, 768, 2048; the literature's is 2048.

    Raises:
        ValueError: If there is no layer with that many features.
    """

    LAYERS = (64, 192, 768, 2048)
    OFFICIAL_DIGEST = "6726825d"  # as in the name of the published file

    def __init__(self, weights_path: str | None = None, num_features: int = 2048) -> None:
        super().__init__(num_features)
        if num_features not in self.LAYERS:
            raise ValueError(f"num_features: got {num_features}, allowed are {', '.join(map(str, self.LAYERS))}")
        self.weights_path = weights_path

    @cached_property
    def name(self) -> str:
        """`inception-2048`; with the first 8 digits of the file's hash if the weights are not the published ones."""
        name = f"inception-{self.num_features}"
        if self.weights_path is None:
            return name
        digest = hashlib.sha256(self._weights_file().read_bytes()).hexdigest()[:8]
        return name if digest == self.OFFICIAL_DIGEST else f"{name}-{digest}"

    def _weights_file(self) -> Path:
        path = Path(str(self.weights_path)).expanduser()
        if not path.is_file():
            raise FileNotFoundError(
                f"weights_path: got {self.weights_path}, which is no file; allowed is a state dict in torch-fidelity's "
                "format, or nothing to download it"
            )
        return path

    def build(self) -> nn.Module:
        """Read or download the weights.

        Raises:
            FileNotFoundError: If the file is missing, or the download fails.
            ValueError: If the file holds something else.
        """
        from torch_fidelity.feature_extractor_inceptionv3 import URL_INCEPTION_V3, FeatureExtractorInceptionV3

        layers = [str(self.num_features), "logits_unbiased"]
        if self.weights_path is None:
            try:
                return FeatureExtractorInceptionV3("inception-v3-compat", layers)
            except OSError as error:
                raise FileNotFoundError(
                    f"InceptionV3: its weights could not be fetched from {URL_INCEPTION_V3} ({error}); "
                    "download that file elsewhere and give its place as weights_path"
                ) from error
        path = self._weights_file()
        try:
            torch.load(path, map_location="cpu", weights_only=True)  # torch-fidelity itself would run code in the file
            return FeatureExtractorInceptionV3("inception-v3-compat", layers, feature_extractor_weights_path=str(path))
        except Exception as error:
            raise ValueError(
                f"weights_path: got {self.weights_path}, which is not a state dict of torch-fidelity's InceptionV3 "
                f"({str(error).splitlines()[0] if str(error) else type(error).__name__})"
            ) from error

    def extract(self, network: nn.Module, images: Tensor) -> tuple[Tensor, Tensor | None]:
        """Pooled features and logits without the bias."""
        return network(images.expand(-1, 3, -1, -1))
