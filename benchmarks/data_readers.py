"""How fast each file format is read and decoded, against a folder of the same images, and how much memory it takes.

    python -m benchmarks.data_readers [--images 20000] [--side 96] [--size 64] [--workers 0] [--pairs 5]

Writes random JPEG images of side x side pixels to a temporary folder and, of the same files, every other format (see
`benchmarks/format_files.py`). Then a block of batches of 64 in training order, decoded to size x size, is read from the
folder and from each format in turn; each pair gives one ratio, whose median is printed with its range. All files are in
the system's cache. Memory is what a new process adds to its own (RssAnon, without the pages of mapped files) while it
lists all images and reads 2,000, for the whole set and for a tenth of it.
"""

import argparse
import multiprocessing
import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from benchmarks import format_files
from benchmarks.clock import now
from lit_diffusion.data import (
    ImageArray,
    ImageArrow,
    ImageFolder,
    ImageLMDB,
    ImageParquet,
    ImageWebDataset,
    ImageZip,
)
from lit_diffusion.data.batch_plans import TrainPlan
from lit_diffusion.data.file_images import FileImages

BATCH, BLOCK = 64, 16  # images in a batch; batches in a block
FORMATS: dict[str, tuple[type[FileImages], Callable[..., Path]]] = {
    "ZIP": (ImageZip, format_files.write_zip),
    "LMDB": (ImageLMDB, format_files.write_lmdb),
    "Parquet, 100 rows a group": (ImageParquet, format_files.write_parquet),
    "Parquet, 10 rows a group": (ImageParquet, lambda folder, path: format_files.write_parquet(folder, path, group=10)),
    "Arrow": (ImageArrow, format_files.write_arrow),
    "WebDataset": (ImageWebDataset, format_files.write_tar),
    "NPY": (ImageArray, format_files.write_npy),
}


def write_images(folder: Path, count: int, side: int) -> None:
    """Smooth random JPEG images, in folders of 1,000."""
    random = np.random.default_rng(0)
    for i in range(count):
        (folder / f"{i // 1000:03}").mkdir(exist_ok=True, parents=True)
        coarse = Image.fromarray(random.integers(0, 256, (side // 8, side // 8, 3), dtype=np.uint8))
        coarse.resize((side, side), Image.Resampling.BICUBIC).save(folder / f"{i // 1000:03}/{i:06}.jpg", quality=90)


def opened(kind: type[FileImages], path: Path, size: int, workers: int) -> FileImages:
    data = kind(str(path), size, BATCH, seed=0, num_workers=workers, cache_bytes=0)
    data.setup()
    return data


def seconds(data: FileImages, block: int) -> float:
    """Time to read a block of batches in the order of training."""
    plan = TrainPlan(data.sizes["train"], BATCH, seed=0)
    numbers = range(block * BLOCK, (block + 1) * BLOCK)
    begin = now()
    for _ in data.store("train").batches(map(plan.indices, numbers), torch.device("cpu")):
        pass
    return now() - begin


def own_memory() -> float:
    """Memory of this process that is not a file's, in MB."""
    fields = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(fields["RssAnon"].split()[0]) / 1000


def added_memory(kind: type[FileImages], path: Path, size: int, answer: Any) -> None:
    before = own_memory()
    data = opened(kind, path, size, 0)
    most = own_memory()
    for block in range(2):
        seconds(data, block)
        most = max(most, own_memory())
    answer.put(most - before)


def in_new_process(*arguments: Any) -> float:
    context = multiprocessing.get_context("spawn")
    answer = context.SimpleQueue()
    process = context.Process(target=added_memory, args=(*arguments, answer))
    process.start()
    result = answer.get()
    process.join()
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("images", 20_000), ("side", 96), ("size", 64), ("workers", 0), ("pairs", 5)):
        parser.add_argument(f"--{name}", type=int, default=default)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        for part, count in (("all", options.images), ("tenth", options.images // 10)):
            write_images(root / part / "folder", count, options.side)
            for number, (_, write) in enumerate(FORMATS.values()):
                write(root / part / "folder", root / part / f"{number}{'.npy' if number == len(FORMATS) - 1 else ''}")
        paths: dict[str, tuple[type[FileImages], str]] = {"folder": (ImageFolder, "folder")}
        paths |= {
            name: (kind, f"{n}{'.npy' if kind is ImageArray else ''}")
            for n, (name, (kind, _)) in enumerate(FORMATS.items())
        }
        sets = {
            name: opened(kind, root / "all" / path, options.size, options.workers)
            for name, (kind, path) in paths.items()
        }
        for data in sets.values():
            seconds(data, options.pairs)  # warms up
        bytes_read = sum(path.stat().st_size for path in (root / "all/folder").rglob("*.jpg")) / options.images
        print(
            f"{options.images} JPEG images of {options.side}x{options.side}, {bytes_read:.0f} bytes, to {options.size}"
        )
        for name, data in sets.items():
            pairs = [(seconds(sets["folder"], block), seconds(data, block)) for block in range(options.pairs)]
            low, middle, high = (f([a / b for a, b in pairs]) for f in (min, statistics.median, max))
            rate = BATCH * BLOCK / statistics.median(b for _, b in pairs)
            memory = [
                in_new_process(paths[name][0], root / part / paths[name][1], options.size) for part in ("tenth", "all")
            ]
            print(
                f"{name:<26} {rate:6.0f} images/s, {middle:.2f} of the folder's ({low:.2f} to {high:.2f}); memory "
                f"{memory[0]:.0f} MB for a tenth, {memory[1]:.0f} MB for all",
                flush=True,
            )


if __name__ == "__main__":
    main()
