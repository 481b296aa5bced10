"""Any folder tree of images, of any size and shape: LSUN, CelebA-HQ, or other images."""

from lit_diffusion.data.file_images import FileImages, say_left_out
from lit_diffusion.data.image_listing import list_images
from lit_diffusion.data.sources.folder_source import FolderSource


class ImageFolder(FileImages):
    """All images below a folder, centre-cropped to one shape and resized, without labels.

    size: the side of squares, or [height, width]. test_root: another folder, used as test split; or num_test: how many
    images of root are set aside for it, those whose relative paths have the lowest hashes, so that the choice does not
    depend on the seed and changes little when images are added. Without either the test split is empty (CelebA-HQ and
    LSUN in Ho et al. 2020, code). channels: 3 for RGB, 1 for grey; 4 and 2 with alpha. num_levels: 256 for images of 8
    bits per channel, 65536 for 16.

    If all resized images take at most cache_bytes, every process decodes them into memory before training begins, and
    broken files are found then. Otherwise num_workers processes per device decode them on demand, by default the
    device's share of the processor's cores, at most 8. Hidden files are skipped unless visible links lead
    to them; files that are not named as images are left out and counted.
    """

    by_class = False

    def source(self, argument: str, root: str) -> FolderSource:
        found = list_images(root, argument)
        source = FolderSource(argument, root, found.paths, self.by_class)
        say_left_out(found.note(f"data.{argument}"))
        return source


class ImageClassFolder(ImageFolder):
    """All images below a folder whose folders are classes: their names are the labels. Settings as ImageFolder's."""

    by_class = True
