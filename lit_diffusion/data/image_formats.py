"""Images in archives, tables and arrays, read where they lie: one class for each file format."""

from lit_diffusion.data.file_images import FileImages, say_left_out
from lit_diffusion.data.sources.array_source import ArraySource
from lit_diffusion.data.sources.arrow_source import ArrowSource
from lit_diffusion.data.sources.hub_source import HubSource
from lit_diffusion.data.sources.lmdb_source import LMDBSource
from lit_diffusion.data.sources.parquet_source import ParquetSource
from lit_diffusion.data.sources.table_source import TableSource
from lit_diffusion.data.sources.tar_source import TarSource
from lit_diffusion.data.sources.zip_source import ZipSource


class ImageZip(FileImages):
    """The images in a ZIP archive, sorted by name, with the labels of its dataset.json if it has one: EDM's layout.

    Settings as ImageFolder's.
    """

    def source(self, argument: str, root: str) -> ZipSource:
        source = ZipSource(argument, root)
        say_left_out(source.note(f"data.{argument}"))
        return source


class ImageLMDB(FileImages):
    """The image files that are the values of an LMDB, in the order of their keys: LSUN's layout.

    Settings as ImageFolder's.
    """

    def source(self, argument: str, root: str) -> LMDBSource:
        return LMDBSource(argument, root)


class ImageWebDataset(FileImages):
    """The images of WebDataset shards: root is a folder of .tar files, a file, or a pattern such as train-*.tar.

    Settings as ImageFolder's.
    """

    def source(self, argument: str, root: str) -> TarSource:
        return TarSource(argument, root)


class ImageArray(FileImages):
    """Images in an NPY or NPZ file: uint8 or uint16, (N, H, W) or (N, H, W, C), channels as they are. num_levels: one
    more than the largest level that there may be. Other settings as ImageFolder's.
    """

    LEVELS = range(2, 65537)

    def source(self, argument: str, root: str) -> ArraySource:
        return ArraySource(argument, root)


class ImageParquet(FileImages):
    """The images of Parquet files, as the `datasets` package and the hub write them: root is a folder, a file, or a
    pattern such as data/train-*.parquet.

    image_column: of encoded images, and label_column: of whole numbers or names, by default those that `datasets` has
    marked, or the only one of its type. Other settings as ImageFolder's.
    """

    kind: type[TableSource] = ParquetSource

    def __init__(
        self,
        root: str,
        size: int | list[int],
        batch_size: int,
        eval_batch_size: int | None = None,
        flip: bool = False,
        seed: int | None = None,
        test_root: str | None = None,
        num_test: int = 0,
        channels: int = 3,
        num_workers: int | None = None,
        cache_bytes: int = 2**30,
        num_levels: int = 256,
        image_column: str | None = None,
        label_column: str | None = None,
    ):
        shared = (eval_batch_size, flip, seed, test_root, num_test, channels, num_workers, cache_bytes, num_levels)
        super().__init__(root, size, batch_size, *shared)
        self.image_column, self.label_column = image_column, label_column

    def source(self, argument: str, root: str) -> TableSource:
        return self.kind(argument, root, self.image_column, self.label_column)


class ImageArrow(ImageParquet):
    """The images of Arrow files, as `save_to_disk` of the `datasets` package writes them; options as ImageParquet's."""

    kind = ArrowSource


class ImageHub(ImageParquet):
    """A data set of the Hugging Face hub, or a folder that `datasets.load_dataset` takes: root and test_root are NAME
    or NAME:SPLIT, such as uoft-cs/cifar10:train. Other options as ImageParquet's.
    """

    kind = HubSource

    def prepare_data(self) -> None:
        """Downloads what is missing; Lightning calls this in one process per machine."""
        for argument, root in (("root", self.root), ("test_root", self.test_root)):
            if root is not None:
                self.source(argument, root)
