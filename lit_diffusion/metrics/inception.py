"""Inception of 2015-12-05, in torch-fidelity's port and numerics: the features that the literature's FID means."""

import socket
import sys
import warnings
from http.client import HTTPException
from io import BytesIO
from pathlib import Path

import torch
from torch import Tensor

from lit_diffusion.errors import ConfigError, first_words
from lit_diffusion.metrics.features import FeatureExtractor, content_of, sha256_of

FILE = "weights-inception-2015-12-05-6726825d.pth"
SAME_FILES = (
    FILE,
    "pt_inception-2015-12-05-6726825d.pth",
)  # torch-fidelity's and pytorch-fid's name for the same bytes
SHA256 = "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2"
TIMEOUT = 20  # seconds without an answer
SIZE = 299  # pixels of a side
CACHED = 16  # images whose activations a processor's caches serve better than those of a whole batch


class InceptionFeatures(FeatureExtractor):
    """The 2,048 pooled features and the 1,008 logits without bias, "inception-v3-compat" of torch-fidelity.

    Images of any size come to 299x299 by TensorFlow 1's bilinear rule, without antialiasing. Grey images are repeated
    to three channels.

    weights: a file of torch-fidelity's format; by default the official one, from torch's cache of checkpoints, where
    torch-fidelity keeps it too (TORCH_HOME moves it), or from the network. channels_last: the memory layout that is
    faster on CPUs and on GPUs with tensor cores; features differ by rounding only.
    """

    resize = "bilinear of TensorFlow 1 to 299x299, no antialiasing"

    def __init__(self, weights: str | None = None, channels_last: bool = True):
        super().__init__()
        self.weights = None if weights is None else Path(weights).expanduser()
        self.channels_last = channels_last

    @property
    def name(self) -> str:
        """torch-fidelity's name; other weights than the official ones are said to be other."""
        return "inception-v3-compat" if self.sha256 in ("", SHA256) else "inception-v3-compat with other weights"

    @property
    def key(self) -> str:
        return f"{super().key} {'channels_last' if self.channels_last else 'contiguous'}"

    def check(self, image_shape: tuple[int, ...]) -> str | None:
        if image_shape[0] == 1:
            return "Inception takes colour: grey images are repeated to three channels"
        if image_shape[0] != 3:
            raise ConfigError(f"Inception takes 3 channels or 1, not {image_shape[0]}; write other features")
        return None

    def read(self) -> str:
        from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3  # a second to import

        path = official_file() if self.weights is None else self.weights
        content = content_of(path, f"write the path of Inception's weights, or none for {FILE}")
        digest = sha256_of(content)
        if self.weights is None:
            check_official(path, digest)
        expected = f"; the official file is {FILE}, SHA-256 {SHA256}"
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of pickles that it then refuses
                state = torch.load(BytesIO(content), map_location="cpu", weights_only=True)
        except Exception as error:  # every kind of damage raises its own
            raise ConfigError(f"{path} (SHA-256 {digest}) is no file of tensors alone{expected}") from error
        tensors = BytesIO()  # the port loads whatever pickle it is given; this one holds tensors
        torch.save(state, tensors)
        tensors.seek(0)
        try:
            network = FeatureExtractorInceptionV3("", ["2048"], feature_extractor_weights_path=tensors)
        except Exception as error:  # no dictionary, or others than Inception's names and shapes
            raise ConfigError(f"{path} (SHA-256 {digest}) does not hold Inception's weights{expected}") from error
        *self.trunk, self.fc = network.children()
        self.trunk = torch.nn.Sequential(*self.trunk)
        if self.channels_last:
            self.to(memory_format=torch.channels_last)
        return digest

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        at_once = CACHED if self.channels_last and pixels.device.type == "cpu" else len(pixels)
        features = torch.cat([self._features(part) for part in pixels.split(at_once)])
        return features, features.mm(self.fc.weight.T)

    def _features(self, pixels: Tensor) -> Tensor:
        x = (resized(pixels.expand(-1, 3, -1, -1)) - 128) / 128
        if self.channels_last:
            x = x.contiguous(memory_format=torch.channels_last)
        return self.trunk(x).flatten(1)


def resized(x: Tensor) -> Tensor:
    """Floats (B, C, H, W) at (B, C, 299, 299) by TensorFlow 1's bilinear rule: pixel i of n lies at i n / 299.

    One axis after the other: what torch-fidelity computes for both at once, to the last bit, in a quarter of the time.
    """
    for axis in (3, 2):
        n = x.shape[axis]
        place = torch.arange(SIZE, device=x.device, dtype=x.dtype) * torch.tensor(n / SIZE, dtype=x.dtype)
        below = place.long()
        share = (place - below).view(-1, *[1] * (3 - axis))
        left, right = (x.index_select(axis, i) for i in (below, (below + 1).clamp_max(n - 1)))
        x = left + (right - left) * share
    return x


def official_file() -> Path:
    """The official weights in torch's cache, fetched if need be. Raises ConfigError where they cannot be had."""
    if (cached := cached_file()) is not None:
        return cached
    from torch_fidelity.feature_extractor_inceptionv3 import URL_INCEPTION_V3

    folder = cached_in()
    before = socket.getdefaulttimeout()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        socket.setdefaulttimeout(TIMEOUT)
        torch.hub.download_url_to_file(URL_INCEPTION_V3, str(folder / FILE), SHA256, progress=sys.stderr.isatty())
    except (OSError, HTTPException, RuntimeError) as error:
        raise ConfigError(
            f"Inception's weights are missing and cannot be fetched ({first_words(error)}); {where_to_put()}"
        ) from error
    finally:
        socket.setdefaulttimeout(before)
    return folder / FILE


def cached_in() -> Path:
    """Torch's folder of checkpoints, which need not exist."""
    return Path(torch.hub.get_dir()) / "checkpoints"


def cached_file() -> Path | None:
    """The official weights in torch's cache under one of their names, unread; None where they are not there."""
    return next((path for name in SAME_FILES if (path := cached_in() / name).is_file()), None)


def check_official(path: Path, digest: str) -> None:
    """Raises ConfigError unless a file of this SHA-256 is the official one."""
    if digest != SHA256:
        raise ConfigError(
            f"{path} is damaged: its SHA-256 is {digest}, not {SHA256}; remove it, and it is fetched again"
        )


def where_to_put() -> str:
    """What a user without a network does about missing weights."""
    from torch_fidelity.feature_extractor_inceptionv3 import URL_INCEPTION_V3

    return (
        f"put {FILE} (SHA-256 {SHA256}, from {URL_INCEPTION_V3}) into {cached_in()}, or set TORCH_HOME to the folder "
        f"that holds hub/checkpoints/{FILE}, or write its path as weights"
    )
