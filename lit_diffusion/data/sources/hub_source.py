"""Data sets of the Hugging Face hub by name, or anything else that `datasets.load_dataset` takes."""

import re

from lit_diffusion.data.sources.arrow_source import ArrowSource
from lit_diffusion.data.sources.image_source import read_file, require
from lit_diffusion.errors import ConfigError, first_words

NAME = re.compile(r"(.+?)(?::(\w+))?")


class HubSource(ArrowSource):
    """The rows of a split, NAME or NAME:SPLIT, by default `train`, from the Arrow files that `datasets` makes of it.

    NAME: of the hub, or a folder. `datasets` downloads what is missing, runs no code of the data set, and keeps files
    in its cache. Raises ConfigError if it fails.
    """

    def _shards(self, argument: str, root: str) -> list[str]:
        datasets = require("datasets", "a name of the hub", "hub")
        match = NAME.fullmatch(root)
        name, split = (match[1], match[2] or "train") if match else (root, "train")
        try:
            rows = datasets.load_dataset(name, split=split, keep_in_memory=False)
            return [one["filename"] for one in rows.cache_files]
        except Exception as error:  # network, hub, cache and builders each raise other types
            raise ConfigError(
                f"{argument}: cannot load the split {split} of {name} ({first_words(error)}); write NAME:SPLIT, and "
                "connect to the network unless it is in the cache of `datasets`"
            ) from error

    def _image(self, shard: int, row: int) -> bytes | None:
        """Also from the file that `datasets` found on this machine, if it has not copied its content."""
        content = super()._image(shard, row)
        if content is None and self.columns.nested:
            table = self._open().table(self.files[shard])
            content = read_file(table.column(self.columns.image)[row].as_py()["path"])
        return content
