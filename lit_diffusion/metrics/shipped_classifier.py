"""Features of small classifiers that ship with the package, for images on which Inception is uninformative."""

from abc import abstractmethod
from importlib.resources import files

from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from torch import Tensor, nn

from lit_diffusion.errors import ConfigError
from lit_diffusion.metrics.features import FeatureExtractor, in_words, sha256_of


class ShippedClassifier(FeatureExtractor):
    """Features and logits of a classifier of grey images of size x size pixels, whose weights are in `file`.

    expected: the SHA-256 of the file. Features are the inputs of the classifier's last layer.
    """

    file: str
    expected: str
    size: int
    batch_size = 1000

    @staticmethod
    @abstractmethod
    def build() -> nn.Sequential:
        """The network from (B, 1, size, size) in [-1, 1] to logits."""

    @property
    def resize(self) -> str:  # type: ignore[override]
        return f"none, {self.size}x{self.size}"

    def read(self) -> str:
        content = (files("lit_diffusion.metrics") / "weights" / self.file).read_bytes()
        digest = sha256_of(content)
        if digest != self.expected:
            raise ConfigError(
                f"{self.file} is damaged: expected SHA-256 {self.expected}, got {digest}; reinstall the package"
            )
        network = self.build().eval()
        try:
            network.load_state_dict(load_tensors(content))
        except (SafetensorError, RuntimeError) as error:
            raise ConfigError(
                f"{self.file} belongs to another version of lit_diffusion; reinstall the package"
            ) from error
        *trunk, self.head = network
        self.trunk = nn.Sequential(*trunk)
        return digest

    def check(self, image_shape: tuple[int, ...]) -> None:
        if image_shape != (1, self.size, self.size):
            raise ConfigError(
                f"{type(self).__name__}: expected grey images of {self.size}x{self.size} pixels, got "
                f"{in_words(image_shape)}; use InceptionFeatures (`lit-diffusion score --features inception`)"
            )

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        features = self.trunk(pixels / 127.5 - 1)
        return features, self.head(features)
