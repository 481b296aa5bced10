"""Writes the images of a folder in every other format that is read, each as the program of its users writes it."""

import io
import json
import tarfile
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

CLASS_NAMES = ("cat", "dog", "owl")


def records(folder: Path) -> Iterator[tuple[str, bytes]]:
    """The image files of a folder in the order of their paths: path, content."""
    for path in sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()):
        yield path, (folder / path).read_bytes()


def write_zip(folder: Path, path: Path, labels: Sequence[int] | None = None) -> Path:
    """As EDM's dataset_tool: stored images, dataset.json."""
    names = [name for name, _ in records(folder)]
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for name, content in records(folder):
            archive.writestr(name, content)
        table = None if labels is None else [[name, label] for name, label in zip(names, labels)]
        archive.writestr("dataset.json", json.dumps({"labels": table}))
    return path


def write_lmdb(folder: Path, path: Path) -> Path:
    """As LSUN's: the content of each file by a key, here its path."""
    import lmdb

    with lmdb.open(str(path), map_size=2**36) as environment, environment.begin(write=True) as transaction:
        for name, content in records(folder):
            transaction.put(name.encode(), content)
    return path


def table_of(rows: Sequence[tuple[str, bytes]], labels: Sequence[int] | None = None) -> "object":
    """A pyarrow table with the columns and the metadata that the `datasets` package writes."""
    import pyarrow

    features: dict[str, object] = {"image": {"_type": "Image"}}
    columns = {"image": [{"bytes": content, "path": name} for name, content in rows]}
    types = [("image", pyarrow.struct({"bytes": pyarrow.binary(), "path": pyarrow.string()}))]
    if labels is not None:
        features["label"] = {"names": [*CLASS_NAMES], "_type": "ClassLabel"}
        columns["label"] = [*labels]  # type: ignore[list-item]
        types.append(("label", pyarrow.int64()))
    metadata = {"huggingface": json.dumps({"info": {"features": features}})}
    return pyarrow.table(columns, schema=pyarrow.schema(types, metadata))


def write_parquet(
    folder: Path, path: Path, labels: Sequence[int] | None = None, shards: int = 2, group: int = 100
) -> Path:
    """As `datasets` uploads to the hub: shards with 100 rows in a row group."""
    import pyarrow.parquet as parquet

    path.mkdir()
    for number, (rows, part) in enumerate(_parts(folder, labels, shards)):
        name = f"train-{number:05}-of-{shards:05}.parquet"
        parquet.write_table(table_of(rows, part), path / name, row_group_size=group)
    return path


def write_arrow(folder: Path, path: Path, labels: Sequence[int] | None = None, shards: int = 2) -> Path:
    """As `save_to_disk` of `datasets`: streams of batches of 1,000 rows."""
    import pyarrow

    path.mkdir()
    for number, (rows, part) in enumerate(_parts(folder, labels, shards)):
        table = table_of(rows, part)
        with pyarrow.ipc.new_stream(path / f"data-{number:05}-of-{shards:05}.arrow", table.schema) as writer:
            writer.write_table(table, max_chunksize=1000)
    return path


def write_tar(folder: Path, path: Path, labels: Sequence[int] | None = None, shards: int = 2) -> Path:
    """As webdataset's writer: an example's files in a row, their names a number and what they are."""
    path.mkdir()
    first = 0
    for number, (rows, part) in enumerate(_parts(folder, labels, shards)):
        with tarfile.open(path / f"{number:06}.tar", "w") as archive:
            for row, (name, content) in enumerate(rows):
                files = {name.rpartition(".")[2]: content}
                if part is not None:
                    files["cls"] = str(part[row]).encode()
                for end, data in files.items():
                    member = tarfile.TarInfo(f"{first + row:09}.{end}")
                    member.size = len(data)
                    archive.addfile(member, io.BytesIO(data))
        first += len(rows)
    return path


def write_npy(folder: Path, path: Path) -> Path:
    """The pixels, (N, H, W, C); all images have one size."""
    np.save(path, np.stack([np.array(Image.open(io.BytesIO(content))) for _, content in records(folder)]))
    return path


def _parts(
    folder: Path, labels: Sequence[int] | None, shards: int
) -> Iterator[tuple[list[tuple[str, bytes]], Sequence[int] | None]]:
    """The records and labels of each shard."""
    rows = [*records(folder)]
    size = -(-len(rows) // shards)
    for start in range(0, len(rows), size):
        yield rows[start : start + size], None if labels is None else labels[start : start + size]
