"""A folder of image files."""

import os
from collections.abc import Iterable, Sequence

import numpy as np
import torch

from lit_diffusion.data.image_listing import split_folders
from lit_diffusion.data.sources.image_source import ImageSource, read_file
from lit_diffusion.data.sources.name_list import NameList
from lit_diffusion.errors import ConfigError


class FolderSource(ImageSource):
    """Image files below `root` by their relative paths. argument: the setting that gives root, for errors.

    by_class: the first folder of each path is a class; classes are numbered in the order of their sorted names.
    """

    def __init__(self, argument: str, root: str, paths: Sequence[str], by_class: bool = False):
        self.root, self.names = root, NameList(paths)
        if by_class:
            if loose := [path for path in paths if "/" not in path]:
                raise ConfigError(
                    f"{argument}: expected every image in the folder of its class, but {os.path.join(root, loose[0])} "
                    "is in none; move it, or use ImageFolder, which has no labels"
                )
            if splits := split_folders(paths):
                raise ConfigError(
                    f"{argument}: expected a folder for each class, but {root!r} has the splits {', '.join(splits)}; "
                    f"choose one, such as {os.path.join(root, splits[-1])}"
                )
            classes = [path.partition("/")[0] for path in paths]
            self.class_names = tuple(sorted(set(classes)))
            number = {name: i for i, name in enumerate(self.class_names)}
            self.labels = torch.tensor([number[name] for name in classes])
        elif any("/" in path for path in paths):
            self.label_advice = "use ImageClassFolder if the folders below root are classes"

    def read(self, index: int) -> bytes:
        return read_file(self.where(index))

    def marks(self, indices: np.ndarray) -> Iterable[object]:
        """ctime changes with any change of a file and, unlike mtime, cannot be set by archives or tools."""
        for index in indices:
            status = os.stat(self.where(index))
            yield np.bytes_(self.names.encoded(index)), status.st_size, status.st_mtime_ns, status.st_ctime_ns
