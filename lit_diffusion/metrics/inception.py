"""Inception of 2015-12-05 in torch-fidelity's port: the features on which the literature's FID is defined."""

import socket
import sys
import warnings
from http.client import HTTPException
from io import BytesIO
from pathlib import Path

import torch
from torch import Tensor

from lit_diffusion.errors import ConfigError, first_words
from lit_diffusion.metrics.features import FeatureExtractor, read_bytes, sha256_of

FILE = "weights-inception-2015-12-05-6726825d.pth"
SAME_FILES = (FILE, "pt_inception-2015-12-05-6726825d.pth")  # torch-fidelity's and pytorch-fid's name, same bytes
SHA256 = "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2"
TIMEOUT = 20  # seconds without a response
SIZE = 299  # pixels per side
CACHED = 16  # images per forward pass on a CPU, so that activations stay in its caches


class InceptionFeatures(FeatureExtractor):
    """The 2,048 pooled features and the 1,008 logits without bias, "inception-v3-compat" of torch-fidelity.

    Images of any size are resized to 299x299 by TensorFlow 1's bilinear rule, without antialiasing. Grey images are
    repeated to three channels.

    weights: a file in torch-fidelity's format. By default the official file from torch's checkpoint cache, which
    torch-fidelity uses too (set TORCH_HOME to move it), downloaded if missing. channels_last: the memory layout that is
    faster on CPUs and on GPUs with tensor cores; features differ by rounding only.
    """

    name = "inception-v3-compat"  # of torch-fidelity
    resize = "bilinear of TensorFlow 1 to 299x299, no antialiasing"

    def __init__(self, weights: str | None = None, channels_last: bool = True):
        super().__init__()
        self.weights = None if weights is None else Path(weights).expanduser()
        self.channels_last = channels_last

    @property
    def key(self) -> str:
        return f"{super().key} {'channels_last' if self.channels_last else 'contiguous'}"

    def check(self, image_shape: tuple[int, ...]) -> str | None:
        if image_shape[0] == 1:
            return "Inception expects colour images; grey images are repeated to three channels"
        if image_shape[0] != 3:
            raise ConfigError(f"InceptionFeatures: expected 1 or 3 channels, got {image_shape[0]}; use other features")
        return None

    def read(self) -> str:
        from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3  # a second to import

        path = find_official() if self.weights is None else self.weights
        content = read_bytes(path, f"set weights to a file of Inception's weights, or omit it to use {FILE}")
        digest = sha256_of(content)
        if self.weights is None:
            check_official(path, digest)
        elif digest != SHA256:
            self.name = f"{self.name} with other weights"
        repair = f"; use the official file {FILE}, SHA-256 {SHA256}"
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # about pickles that it then refuses
                state = torch.load(BytesIO(content), map_location="cpu", weights_only=True)
        except Exception as error:  # the type depends on the damage
            raise ConfigError(f"{path} (SHA-256 {digest}) is not a file of tensors{repair}") from error
        tensors = BytesIO()  # the port unpickles its file without checks: give it one that holds only tensors
        torch.save(state, tensors)
        tensors.seek(0)
        try:
            network = FeatureExtractorInceptionV3("", ["2048"], feature_extractor_weights_path=tensors)
        except Exception as error:  # not a dictionary, or not Inception's names and shapes
            raise ConfigError(f"{path} (SHA-256 {digest}) does not hold Inception's weights{repair}") from error
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
        x = (resize_bilinear(pixels.expand(-1, 3, -1, -1)) - 128) / 128
        if self.channels_last:
            x = x.contiguous(memory_format=torch.channels_last)
        return self.trunk(x).flatten(1)


def resize_bilinear(x: Tensor) -> Tensor:
    """Resizes floats (B, C, H, W) to (B, C, 299, 299) by TensorFlow 1's bilinear rule: pixel i is read at i n / 299.

    One axis after the other: bitwise equal to torch-fidelity's function of both axes, in a quarter of the time.
    """
    for axis in (3, 2):
        n = x.shape[axis]
        place = torch.arange(SIZE, device=x.device, dtype=x.dtype) * torch.tensor(n / SIZE, dtype=x.dtype)
        below = place.long()
        share = (place - below).view(-1, *[1] * (3 - axis))
        left, right = (x.index_select(axis, i) for i in (below, (below + 1).clamp_max(n - 1)))
        x = left + (right - left) * share
    return x


def find_official() -> Path:
    """The official weights in torch's cache, downloaded if missing. Raises ConfigError if that fails."""
    if (cached := find_cached()) is not None:
        return cached
    from torch_fidelity.feature_extractor_inceptionv3 import URL_INCEPTION_V3

    folder = checkpoint_folder()
    before = socket.getdefaulttimeout()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        socket.setdefaulttimeout(TIMEOUT)
        torch.hub.download_url_to_file(URL_INCEPTION_V3, str(folder / FILE), SHA256, progress=sys.stderr.isatty())
    except (OSError, HTTPException, RuntimeError) as error:
        raise ConfigError(
            f"Inception's weights are missing and cannot be downloaded ({first_words(error)}); {manual_download()}"
        ) from error
    finally:
        socket.setdefaulttimeout(before)
    return folder / FILE


def checkpoint_folder() -> Path:
    """Torch's checkpoint folder, which need not exist."""
    return Path(torch.hub.get_dir()) / "checkpoints"


def find_cached() -> Path | None:
    """The official weights in torch's cache under either name, not read yet; None if they are missing."""
    return next((path for name in SAME_FILES if (path := checkpoint_folder() / name).is_file()), None)


def check_official(path: Path, digest: str) -> None:
    """Raises ConfigError unless a file's SHA-256 is the official one."""
    if digest != SHA256:
        raise ConfigError(f"{path} is damaged: expected SHA-256 {SHA256}, got {digest}; remove it to download it again")


def manual_download() -> str:
    """How to supply missing weights without a network."""
    from torch_fidelity.feature_extractor_inceptionv3 import URL_INCEPTION_V3

    return (
        f"put {FILE} (SHA-256 {SHA256}, from {URL_INCEPTION_V3}) into {checkpoint_folder()}, or set TORCH_HOME to the "
        f"folder that holds hub/checkpoints/{FILE}, or set weights to its path"
    )
