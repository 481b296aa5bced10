"""Which pictures of which runs a page shows: the newest first, and those before as far as its size allows."""

import re
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from lit_diffusion.errors import ConfigError
from lit_diffusion.report.picture_encoding import Encoded, encode_picture
from lit_diffusion.report.run_files import list_parts, read_part

MOST_CHARACTERS = 8 * 2**20  # of all pictures of a page
LEAST_BYTES, MOST_BYTES = 30_000, 400_000  # of one picture; within these, what leaves room for two of each run
LARGEST = 100 * 2**20  # bytes of a file
AT_ONCE = 64  # pictures that are read and encoded before it is asked whether there is room for more
STEP = re.compile(r"samples/(\d{1,12})_(samples|chain|x_0)\.png")
OTHERS = re.compile(r"(?:samples/(data|forward)|predict/([A-Za-z_]\w{0,30}))\.png")
# In the order in which they are offered.
KINDS = {
    "samples": "samples",
    "chain": "chains, x_T to x_0",
    "x_0": "estimates of x_0 along the chains",
    "forward": "forward process of data",
    "data": "data",
}


@dataclass(frozen=True)
class PictureFile:
    """name: within the folder of the run. step: of the training; None for one that does not change with it."""

    kind: str
    step: int | None
    name: str


@dataclass
class Album:
    """The pictures of a page. pictures: each once, even if many runs have the same. shown: by kind and run, the steps
    and the picture's number. left_out: how many there was no room for.
    """

    pictures: list[Encoded] = field(default_factory=list)
    shown: dict[str, dict[int, list[tuple[int | None, int]]]] = field(default_factory=dict)
    left_out: int = 0


def find_pictures(folder: Path) -> list[PictureFile]:
    """The pictures of a run, those of each kind by step."""
    found = []
    for name in (*list_parts(folder, "samples"), *list_parts(folder, "predict")):
        if match := STEP.fullmatch(name):
            found.append(PictureFile(match[2], int(match[1]), name))
        elif match := OTHERS.fullmatch(name):
            found.append(PictureFile(match[1] or match[2], None, name))
    return sorted(found, key=lambda one: (one.kind, one.step or 0))


def make_album(folders: Sequence[Path], problems: Sequence[list[str]], most: int = MOST_CHARACTERS) -> Album:
    """The pictures of runs, as many as fit. problems: for each run, receives a line for each that cannot be shown."""
    album, numbers = Album(), dict[str, int]()
    limit = min(MOST_BYTES, max(LEAST_BYTES, most * 3 // 8 // max(1, len(folders))))
    wanted = list(_by_importance([find_pictures(folder) for folder in folders]))

    def load(which: tuple[int, PictureFile]) -> Encoded | str:
        run, file = which
        try:
            return encode_picture(read_part(folders[run], file.name, LARGEST) or b"", limit)
        except ConfigError as error:
            return str(error) if str(error).startswith(file.name) else f"{file.name}: {error}; left out"

    room = most
    with ThreadPoolExecutor() as threads:
        for start in range(0, len(wanted), AT_ONCE):
            some = wanted[start : start + AT_ONCE]
            if room <= 0:
                album.left_out += len(some)
                continue
            before = len(album.pictures)
            for (run, file), loaded in zip(some, threads.map(load, some)):
                if isinstance(loaded, str):
                    problems[run].append(loaded)
                    continue
                cost = 0 if loaded.source in numbers else len(loaded.source)
                if cost > room:
                    album.left_out += 1
                    continue
                room -= cost
                number = numbers.setdefault(loaded.source, len(album.pictures))
                album.pictures += [loaded] if number == len(album.pictures) else []
                album.shown.setdefault(file.kind, {}).setdefault(run, []).append((file.step, number))
            if album.left_out and len(album.pictures) == before:
                room = 0  # too little for any
    for runs in album.shown.values():
        for steps in runs.values():
            steps.sort(key=lambda one: one[0] or 0)
    return album


def _by_importance(files: Sequence[list[PictureFile]]) -> Iterator[tuple[int, PictureFile]]:
    """The last picture of each kind of all runs, then steps before in ever finer division."""
    ranked = []
    for run, of_run in enumerate(files):
        for order, kind in enumerate(order_kinds({file.kind for file in of_run})):
            same = [file for file in of_run if file.kind == kind]
            ranked += [(rank, order, run, same[index]) for rank, index in enumerate(divide(len(same)))]
    ranked.sort(key=lambda one: one[:3])
    yield from ((run, file) for _, _, run, file in ranked)


def divide(count: int) -> list[int]:
    """The numbers 0..count-1: the last, the first, then always the middles of what is between.

    >>> divide(6)
    [5, 0, 2, 1, 3, 4]
    """
    order = list(dict.fromkeys(number for number in (count - 1, 0) if 0 <= number < count))
    spans = [(0, count - 1)]
    while spans:
        halves = []
        for low, high in spans:
            middle = (low + high) // 2
            if low < middle < high:
                order.append(middle)
                halves += [(low, middle), (middle, high)]
        spans = halves
    return order


def list_first_pictures(album: Album) -> set[int]:
    """The numbers of the pictures that a page shows at first: of each run the last of the first kind that it has."""
    first: dict[int, int] = {}
    for kind in order_kinds(album.shown):
        for run, steps in album.shown[kind].items():
            first.setdefault(run, steps[-1][1])
    return set(first.values())


def title_of(kind: str) -> str:
    """How a kind of pictures is called; those of `predict/` by the name of their file."""
    return KINDS.get(kind, f"predict: {kind.replace('_', ' ')}")


def order_kinds(kinds: Iterable[str]) -> list[str]:
    """Kinds of pictures in the order in which they are offered."""
    return sorted(kinds, key=lambda kind: (list(KINDS).index(kind) if kind in KINDS else len(KINDS), kind))
