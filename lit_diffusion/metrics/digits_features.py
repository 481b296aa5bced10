"""Features for 8x8 digits."""

from torch import nn

from lit_diffusion.metrics.shipped_classifier import ShippedClassifier


class DigitsFeatures(ShippedClassifier):
    """The 64 features and 10 logits of a convolutional classifier of scikit-learn's digits, for 8x8 grey images.

    Trained on the 1,500 training images by scripts/train_digits_classifier.py, which also prints its held-out accuracy.
    """

    name = "digits-classifier"
    file = "digits_classifier.safetensors"
    expected = "220f8bf4d994e6d1236b947e73961e3f70bf3e4b4bed5b64f65d39118114e1a4"
    size = 8
    class_names = tuple("0123456789")

    @staticmethod
    def build() -> nn.Sequential:
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
