"""An LMDB of image files by key: the layout of LSUN."""

import os
from typing import Any

from lit_diffusion.data.sources.image_source import ImageSource, check_length, require
from lit_diffusion.data.sources.lmdb_pages import check_pages
from lit_diffusion.data.sources.name_list import NameList
from lit_diffusion.errors import ConfigError, one_line

STARTS = (b"\x89PNG", b"\xff\xd8", b"RIFF", b"BM", b"II*\0", b"MM\0*", *(b"P%d" % i for i in range(1, 7)))
LOOKED_AT = 4  # records at either end, where other layouts keep what is not an image


class LMDBSource(ImageSource):
    """All values of an LMDB, each the content of an image file, in the order of their keys.

    It is opened without a lock, since folders may be read-only and other readers do not matter; what is read is checked
    to be of one version: a database that is written to meanwhile is refused.
    argument: the setting that gives its folder or file. Raises ConfigError if it is damaged or of another layout.
    """

    def __init__(self, argument: str, root: str):
        self.root = root
        file = os.path.join(root, "data.mdb") if os.path.isdir(root) else root
        self.files = [file]
        lmdb = require("lmdb", "an LMDB")
        if not os.path.isfile(file):
            raise ConfigError(f"{argument}: expected the folder of an LMDB, but there is no {file}")
        try:
            environment = environment_of(root, anew=True)
            self._version = environment.info()["last_txnid"]
            try:
                check_pages(file, environment.stat()["psize"], environment.info()["last_pgno"])
            except ValueError:
                self._check_version(environment)  # a page that is written to meanwhile is not damaged
                raise
            with environment.begin() as transaction:
                self.names = NameList(transaction.cursor().iternext(keys=True, values=False))
                count = len(self.names)
                for index in {*range(min(LOOKED_AT, count)), *range(max(0, count - LOOKED_AT), count)}:
                    start = bytes(transaction.get(self.names.encoded(index)) or b"")[:16]
                    if not start.startswith(STARTS):
                        raise ValueError(
                            f"expected every value to be an image file, as in LSUN's, but that of {self.name(index)!r} "
                            f"begins with {start!r}"
                        )
            self._check_version(environment)
        except ConfigError as error:
            raise ConfigError(f"{argument}: {error}") from error
        except (lmdb.Error, ValueError, OSError) as error:
            raise ConfigError(
                f"{argument}: {root}: cannot be read as an LMDB of images ({one_line(error)}); use one whose keys are "
                "names and whose values are image files"
            ) from error
        if not count:
            raise ConfigError(f"{argument}: no image in {root!r}; use an LMDB that is not empty")

    def read(self, index: int) -> bytes:
        environment = environment_of(self.root)
        with environment.begin() as transaction:
            content = transaction.get(self.names.encoded(index), b"")
        self._check_version(environment)  # after the read: the pages of a version stay until the second one after it
        check_length(len(content))
        return content

    def _check_version(self, environment: Any) -> None:
        if environment.info()["last_txnid"] != self._version:
            raise ConfigError(f"{self.root}: another process is writing to this LMDB; let it finish, then start again")


def environment_of(root: str, anew: bool = False) -> Any:
    """An LMDB, read-only; opened once in a process, as it must be, and, if it has been replaced since, `anew`.

    Raises ValueError if its file is shorter than it says: reading it would kill the process.
    """
    root = os.path.abspath(root)
    if anew and root in _opened:
        _opened.pop(root).close()
    if root not in _opened:
        _opened[root] = _open(root)
    return _opened[root]


def _open(root: str) -> Any:
    import lmdb

    is_folder = os.path.isdir(root)
    environment = lmdb.open(
        root, subdir=is_folder, readonly=True, lock=False, readahead=False, meminit=False, create=False, max_readers=1
    )
    needed = (environment.info()["last_pgno"] + 1) * environment.stat()["psize"]
    found = os.path.getsize(os.path.join(root, "data.mdb") if is_folder else root)
    if found < needed:
        environment.close()
        raise ValueError(f"truncated: expected {needed:,} bytes, found {found:,}")
    return environment


def _close_all() -> None:
    while _opened:
        _opened.popitem()[1].close()


# no environment crosses a fork: whoever reads next opens it again
_opened: dict[str, Any] = {}
os.register_at_fork(before=_close_all)
