"""Real handwritten digits that ship with scikit-learn: the default data set, which needs no download."""

import torch
from torch import Tensor

from lit_diffusion.data.image_data import ImageData
from lit_diffusion.data.store import MemoryStore
from lit_diffusion.seeding import derive_seed

NUM_TEST = 297


class Digits(ImageData):
    """scikit-learn's 1,797 scans of digits, 8x8 with levels 0..16 (UCI, Alpaydin & Kaynak 1998): 1,500 train, 297 test.

    The split is stratified by digit and the same for every run. It does not follow the order of the file, whose writers
    change half-way, nor the run's seed, since scores of two runs compare only on the same test images.
    """

    image_shape = (1, 8, 8)
    num_levels = 17
    class_names = tuple("0123456789")

    def __init__(
        self, batch_size: int = 128, eval_batch_size: int | None = None, flip: bool = False, seed: int | None = None
    ):
        super().__init__(batch_size, eval_batch_size, flip, seed)

    def read(self) -> dict[str, MemoryStore]:
        from sklearn.datasets import load_digits  # takes a second to import

        file = load_digits()
        images = torch.from_numpy(file.images).to(torch.uint8)[:, None]  # (1797, 1, 8, 8)
        labels = torch.from_numpy(file.target).long()
        test = stratified(labels, NUM_TEST)
        return {
            "train": MemoryStore(images[~test], labels[~test]),
            "test": MemoryStore(images[test], labels[test]),
        }


def stratified(labels: Tensor, count: int) -> Tensor:
    """A fixed choice of `count` examples, stratified by class to within one example: (N,) labels to (N,) bool.

    The members of each class are shuffled and placed evenly over [0, 1); the `count` lowest places of all classes are
    chosen. The shuffle sorts by a hash, so that it does not depend on library versions.
    """
    place = torch.empty(len(labels), dtype=torch.float64)
    for label in labels.unique():
        members = (labels == label).nonzero().flatten().tolist()
        members.sort(key=lambda i: derive_seed("stratified", i))
        place[members] = (torch.arange(len(members), dtype=torch.float64) + 0.5) / len(members)
    chosen = torch.zeros(len(labels), dtype=torch.bool)
    chosen[place.argsort(stable=True)[:count]] = True
    return chosen
