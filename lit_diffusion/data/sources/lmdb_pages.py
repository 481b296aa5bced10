"""Whether the pages of an LMDB lead only to places within its file: its library follows them without looking."""

import os
import struct

import numpy as np

META = struct.Struct("<16x I I 16x 48x I H H 32x Q Q Q")  # magic, version, ..; of the main database: flags, depth, root
PAGE = struct.Struct("<Q 2x H H H")  # number, flags, where free space begins and ends
MAGIC, NO_PAGE = 0xBEEFC0DE, 2**64 - 1
BRANCH, LEAF, KIND = 1, 2, 0x2F  # flags of pages
LARGE, SEVERAL = 1, 4  # flags of records: on pages of their own; several values under one key


def check_pages(path: str, size: int, last: int) -> None:
    """Walks from the root over all pages that hold keys, not over those that hold large values only.

    size: bytes of a page; last: the highest page. Raises ValueError for a page that is damaged.
    """
    file = os.open(path, os.O_RDONLY)
    try:
        metas = [META.unpack(os.pread(file, META.size, number * size)) for number in (0, 1)]
        *_, depth, root, _, _ = max((one for one in metas if one[0] == MAGIC), key=lambda one: one[-1])
        level = np.array([root] if root != NO_PAGE else [], dtype=np.uint64)
        for height in range(depth, 0, -1):
            if len(level) > last or (level > last).any():
                raise ValueError("its pages are not a tree")
            pages = (_children(os.pread(file, size, int(page) * size), int(page), last, height == 1) for page in level)
            level = np.concatenate([*pages, np.array([], dtype=np.uint64)])
    finally:
        os.close(file)


def _children(page: bytes, number: int, last: int, is_leaf: bool) -> np.ndarray:
    """The pages below one of branches; none for a leaf."""
    found, flags, lower, upper = PAGE.unpack_from(page)
    if found != number or flags & KIND != (LEAF if is_leaf else BRANCH) or not PAGE.size < lower <= upper <= len(page):
        raise ValueError(f"page {number} is damaged")
    places = np.frombuffer(page, "<u2", (lower - PAGE.size) // 2, PAGE.size).astype(np.int64)
    if (places < upper).any() or (places > len(page) - 8).any() or (places % 2).any():
        raise ValueError(f"page {number} is damaged")
    low, high, marks, key_length = (np.frombuffer(page, "<u2")[places // 2 + i].astype(np.int64) for i in range(4))
    value, end = low | high << 16, places + 8 + key_length
    if not is_leaf:
        below = value | marks << 32
        if (end > len(page)).any() or (below > last).any() or (below < 2).any():
            raise ValueError(f"page {number} is damaged")
        return below.astype(np.uint64)
    large = (marks & LARGE) > 0
    if (end + np.where(large, 8, value) > len(page)).any():
        raise ValueError(f"page {number} is damaged")
    if (marks & SEVERAL).any():
        raise ValueError("several values under one key")
    first = np.frombuffer(page, np.uint8)[end[large][:, None] + np.arange(8)].view("<u8").ravel()
    needed = (value[large] + PAGE.size + len(page) - 1) // len(page)
    if (first < 2).any() or (first > last).any() or (first.astype(np.int64) + needed > last + 1).any():
        raise ValueError(f"page {number} is damaged")
    return np.array([], dtype=np.uint64)
