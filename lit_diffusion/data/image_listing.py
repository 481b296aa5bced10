"""Which files below a folder are its images, and how many files are left out."""

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from lit_diffusion.data.sources.split_names import splits_in
from lit_diffusion.errors import ConfigError

# names of the formats that `decode` reads
SUFFIXES = (
    *(".bmp", ".dib", ".jfif", ".jpe", ".jpeg", ".jpg", ".pbm", ".pgm", ".png", ".pnm", ".ppm"),
    *(".tif", ".tiff", ".webp"),
)
MOST_KINDS = 5  # listed in a note


@dataclass(frozen=True)
class Listing:
    """paths: of all images, sorted, relative to the folder. others: the number of other files, by the ends of their
    names.
    """

    paths: list[str]
    others: Counter[str]

    def note(self, argument: str) -> str | None:
        """What the user should know about the choice of files, or None. argument: the name of the setting."""
        return "; ".join(filter(None, (self._left_out(argument), self._merged(argument)))) or None

    def _merged(self, argument: str) -> str | None:
        """That images of several splits are taken together."""
        if not (splits := split_folders(self.paths)):
            return None
        return (
            f"{argument}: the images of {' and '.join(splits)} are taken as one set; to have one split, give its folder"
        )

    def _left_out(self, argument: str) -> str | None:
        """Which files are not images."""
        if not self.others:
            return None
        kinds = [
            f"{count:,} {end or 'without a suffix'}"
            for end, count in sorted(self.others.items(), key=lambda one: (-one[1], one[0]))[:MOST_KINDS]
        ]
        more = ["others"] if len(self.others) > MOST_KINDS else []
        return (
            f"{argument}: images: {len(self.paths):,}; files left out because they are not named as images: "
            f"{self.others.total():,} ({', '.join(kinds + more)})"
        )


def split_folders(paths: Sequence[str]) -> list[str]:
    """The first folders of paths, sorted, if every one is named as a split and there is more than one split."""
    folders = sorted({path.partition("/")[0] if "/" in path else "" for path in paths})
    splits = [splits_in(folder) for folder in folders]
    return folders if all(splits) and len({*map(tuple, splits)}) > 1 else []


def list_images(root: str, argument: str) -> Listing:
    """The images below a folder. Hidden files and folders are skipped; a link within root is an image if its target is
    not listed itself, being hidden or without a suffix, as in git-annex and caches of hubs. Every target counts once.

    argument: the name of the setting, with which errors begin. Raises ConfigError if root is not a folder, contains no
    image, or contains a symbolic link that leads out of it or to nothing.
    """
    if not os.path.isdir(root):
        raise ConfigError(f"{argument}: expected a folder of images, but {root!r} is not a folder")
    top = os.path.realpath(root)
    paths, links, others = list[str](), list[tuple[str, str]](), list[tuple[str, str]]()
    for path, target in _walk(root, "", top, argument, set()):
        if not path.lower().endswith(SUFFIXES):
            others.append((path, target or f"{top}/{path}"))
        elif not os.path.isfile(os.path.join(root, path)):
            raise ConfigError(f"{argument}: {os.path.join(root, path)} is not a regular file; remove it")
        elif target:
            links.append((path, target))
        else:
            paths.append(path)
    if links:
        taken = {f"{top}/{path}" for path in paths}
        links.sort(key=lambda link: (link[0].count("/"), link[0]))
        first = {target: path for path, target in reversed(links) if target not in taken}
        paths += first.values()
        taken.update(first)
        others = [(path, target) for path, target in others if target not in taken]
    if not paths:
        raise ConfigError(
            f"{argument}: no image in {root!r}; use a folder that contains files ending in {', '.join(SUFFIXES)}"
        )
    names = {target: path for path, target in others}
    return Listing(sorted(paths), Counter(os.path.splitext(path)[1].lower() for path in names.values()))


def _walk(folder: str, prefix: str, top: str, argument: str, visited: set[str]) -> Iterator[tuple[str, str]]:
    """The paths of all visible files, each with its target if it is a link or found through one, else "".

    Links to folders are followed if the target is hidden: a visible one is walked itself. visited: targets followed.
    """
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith("."):
                continue
            path, target = f"{prefix}{entry.name}", ""
            if entry.is_symlink() or visited:
                target = os.path.realpath(entry.path)
                if not os.path.exists(target):
                    raise ConfigError(
                        f"{argument}: {entry.path} links to {target}, which is missing; fetch it (git-annex: "
                        "`git annex get`), or remove the link"
                    )
                if os.path.commonpath([target, top]) != top:
                    raise ConfigError(
                        f"{argument}: {entry.path} links to {target}, outside the folder; replace it by a copy, or use "
                        "a folder that contains both"
                    )
            if not entry.is_dir():
                yield path, target
            elif not entry.is_symlink():
                yield from _walk(entry.path, f"{path}/", top, argument, visited)
            elif target not in visited and "/." in target.removeprefix(top):
                yield from _walk(entry.path, f"{path}/", top, argument, visited | {target})
