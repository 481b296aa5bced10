"""Confidence of the digits classifier on samples: python scripts/classify_digits.py runs/NAME/predict/samples.npz"""

import argparse

import torch

from lit_diffusion.data.image_set import open_images
from lit_diffusion.metrics import DigitsFeatures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("images", help="a folder of 8x8 images, an .npz file, or digits:train, digits:test")
    images = open_images(parser.parse_args().images, channels=1)
    extractor = DigitsFeatures()
    extractor.check(images.shape)
    extractor.load()
    x = torch.cat([*images.batches(torch.arange(len(images)).split(1000), torch.device("cpu"))])
    p, digit = extractor((x + 1) * 127.5)[1].softmax(1).max(1)
    print(f"{len(x)} images: {(p > 0.9).float().mean():.1%} classified with probability above 0.9")
    print("of each digit: " + ", ".join(f"{d}: {count}" for d, count in enumerate(digit.bincount(minlength=10))))


if __name__ == "__main__":
    main()
