"""Features for 8x8 digits, of which Inception says little: a small classifier whose weights ship with the package."""

from importlib.resources import files

from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from torch import Tensor, nn

from lit_diffusion.errors import ConfigError
from lit_diffusion.metrics.features import FeatureExtractor, sha256_of

FILE = "digits_classifier.safetensors"
SHA256 = "220f8bf4d994e6d1236b947e73961e3f70bf3e4b4bed5b64f65d39118114e1a4"


class DigitsFeatures(FeatureExtractor):
    """The 64 features and 10 logits of a convolutional classifier of scikit-learn's digits, for 8x8 grey images.

    Trained on the 1,500 training images by scripts/train_digits_classifier.py, which also tells its held-out accuracy.
    """

    name = "digits-classifier"
    resize = "none, 8x8"
    batch_size = 1000

    def read(self) -> str:
        content = files("lit_diffusion.metrics").joinpath("weights", FILE).read_bytes()
        digest = sha256_of(content)
        if digest != SHA256:
            raise ConfigError(f"{FILE} is damaged: its SHA-256 is {digest}, not {SHA256}; install the package again")
        network = classifier().eval()
        try:
            network.load_state_dict(load_tensors(content))
        except (SafetensorError, RuntimeError) as error:
            raise ConfigError(f"{FILE} does not fit this version; install the package again") from error
        *trunk, self.head = network
        self.trunk = nn.Sequential(*trunk)
        return digest

    def check(self, image_shape: tuple[int, ...]) -> None:
        if image_shape != (1, 8, 8):
            raise ConfigError(
                f"DigitsFeatures takes images of (1, 8, 8), not {tuple(image_shape)}; write InceptionFeatures (score's "
                "--features inception)"
            )

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        features = self.trunk(pixels / 127.5 - 1)
        return features, self.head(features)


def classifier() -> nn.Sequential:
    """The network: (B, 1, 8, 8) in [-1, 1] to 64 features, which are the input of its last layer, to 10 logits."""
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
