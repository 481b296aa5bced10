"""Trains the classifier behind DigitsFeatures on the digits' training split and writes its weights.

    python scripts/train_digits_classifier.py lit_diffusion/metrics/weights/digits_classifier.safetensors

Prints the accuracy on the 297 held-out images and the SHA-256 of the file, which
lit_diffusion/metrics/digits_features.py checks. The seed is fixed, but another version of torch may round differently
and give another file and other scores.
"""

import argparse
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch.nn.functional import cross_entropy, pad

from lit_diffusion.data import Digits
from lit_diffusion.metrics import DigitsFeatures
from lit_diffusion.metrics.features import sha256_of
from lit_diffusion.pixels import to_float

EPOCHS = 120
BATCH = 100


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path)
    output = parser.parse_args().output
    torch.manual_seed(0)
    torch.set_num_threads(1)
    data = Digits()
    data.setup()
    images, labels = to_float(data.images("train"), data.num_levels), data.labels("train")
    network = DigitsFeatures.build()
    optimizer = torch.optim.AdamW(network.parameters(), lr=2e-3, weight_decay=1e-2)
    steps = EPOCHS * (len(images) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, steps)
    for _ in range(EPOCHS):
        for batch in torch.randperm(len(images)).split(BATCH):
            if len(batch) < BATCH:
                continue
            loss = cross_entropy(network(shifted(images[batch])), labels[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    network.eval()
    held_out = to_float(data.images("test"), data.num_levels)
    with torch.no_grad():
        p, guess = network(held_out).softmax(1).max(1)
    right = guess == data.labels("test")
    output.parent.mkdir(parents=True, exist_ok=True)
    save_file(network.state_dict(), output)
    content = output.read_bytes()
    print(f"held-out accuracy {right.float().mean():.2%}; confidence above 0.9 for {(p > 0.9).float().mean():.1%}")
    print(f"{output}: {len(content):,} bytes, SHA-256 {sha256_of(content)}")


def shifted(images: torch.Tensor) -> torch.Tensor:
    """Images (B, 1, 8, 8), each shifted by up to half a pixel in both directions, plus a little noise."""
    dx, dy = torch.rand(2, len(images), 1, 1, 1) - 0.5
    padded = pad(images, (1, 1, 1, 1), value=-1.0)
    for d, axis in ((dx, -1), (dy, -2)):
        neighbour = torch.where(d > 0, padded.roll(1, axis), padded.roll(-1, axis))
        padded = padded + d.abs() * (neighbour - padded)
    return padded[..., 1:-1, 1:-1] + 0.05 * torch.randn_like(images)


if __name__ == "__main__":
    main()
