"""Features for 8x8 digits, on which Inception is uninformative: a small classifier that ships with the package."""

from importlib.resources import files

from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from torch import Tensor, nn

from lit_diffusion.errors import ConfigError
from lit_diffusion.metrics.features import FeatureExtractor, in_words, sha256_of

FILE = "digits_classifier.safetensors"
SHA256 = "220f8bf4d994e6d1236b947e73961e3f70bf3e4b4bed5b64f65d39118114e1a4"


class DigitsFeatures(FeatureExtractor):
    """The 64 features and 10 logits of a convolutional classifier of scikit-learn's digits, for 8x8 grey images.

    Trained on the 1,500 training images by scripts/train_digits_classifier.py, which also prints its held-out accuracy.
    """

    name = "digits-classifier"
    resize = "none, 8x8"
    batch_size = 1000

    def read(self) -> str:
        content = (files("lit_diffusion.metrics") / "weights" / FILE).read_bytes()
        digest = sha256_of(content)
        if digest != SHA256:
            raise ConfigError(f"{FILE} is damaged: expected SHA-256 {SHA256}, got {digest}; reinstall the package")
        network = build_classifier().eval()
        try:
            network.load_state_dict(load_tensors(content))
        except (SafetensorError, RuntimeError) as error:
            raise ConfigError(f"{FILE} belongs to another version of lit_diffusion; reinstall the package") from error
        *trunk, self.head = network
        self.trunk = nn.Sequential(*trunk)
        return digest

    def check(self, image_shape: tuple[int, ...]) -> None:
        if image_shape != (1, 8, 8):
            raise ConfigError(
                f"DigitsFeatures: expected grey images of 8x8 pixels, got {in_words(image_shape)}; use "
                "InceptionFeatures (`lit-diffusion score --features inception`)"
            )

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        features = self.trunk(pixels / 127.5 - 1)
        return features, self.head(features)


def build_classifier() -> nn.Sequential:
    """The network from (B, 1, 8, 8) in [-1, 1] to 10 logits; the inputs of its last layer are the 64 features."""
    return nn.Sequential(
        nn.Conv2d(1, 32, 3, padding=1),
        nn.SiLU(),
        nn.Conv2d(32, 32, 3, padding=1),
        nn.SiLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 3, padding=1),
        nn.SiLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Dropout(0.3),
        nn.Linear(256, 64),
        nn.SiLU(),
        nn.Linear(64, 10),
    )
