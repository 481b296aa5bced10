"""Any folder tree of images, of any size and shape: LSUN, CelebA-HQ, or other images."""

from lit_diffusion.data.file_images import FileImages, say_left_out
from lit_diffusion.data.image_listing import list_images
from lit_diffusion.data.sources.folder_source import FolderSource


class ImageFolder(FileImages):
    """All images below a folder, sorted by their paths, without labels.

    Hidden files are skipped unless visible links lead to them; files that are not named as images are left out and
    counted.
    """

    by_class = False

    def source(self, argument: str, root: str) -> FolderSource:
        found = list_images(root, argument)
        say_left_out(found.note(f"data.{argument}"))
        return FolderSource(argument, root, found.paths, self.by_class)


class ImageClassFolder(ImageFolder):
    """The same of a folder whose folders are classes: their names are the labels."""

    by_class = True
