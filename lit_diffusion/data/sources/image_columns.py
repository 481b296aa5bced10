"""Which columns of a table are images and labels, as the `datasets` package marks them, or as their types say."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lit_diffusion.errors import ConfigError

FEATURES = b"huggingface"  # metadata of a schema
LABEL_NAMES = ("label", "labels")  # of a column of whole numbers that is taken for labels
INDICES = ["indices"]  # the columns of a file in which `datasets` keeps the order of another one's rows
MOST_LABEL = 2**31 - 1
UNKNOWN = -1  # label of every image of a split whose classes are not published


@dataclass(frozen=True)
class ImageColumns:
    """image: the name of a column of encoded images; nested: whether it holds {bytes, path}, not bytes. label: the name
    of the column of labels, or None; text: whether these are names; classes: the names of numbers, if they have any.
    other_labels: names of the columns that may be chosen as labels.
    """

    image: str
    nested: bool
    label: str | None
    text: bool
    classes: tuple[str, ...]
    other_labels: tuple[str, ...] = field(default=(), compare=False)


def find_columns(schema: Any, image: str | None, label: str | None) -> ImageColumns:
    """The columns of a pyarrow schema. image, label: their names, or None to find them.

    Raises ConfigError that names the columns if there is none, or more than one.
    """
    import pyarrow.types as types

    features = _features(schema)
    listed = ", ".join(f"{field.name} ({_kind(field.type)})" for field in schema)

    def is_image(field: Any) -> bool:
        nested = types.is_struct(field.type) and field.type.get_field_index("bytes") >= 0
        return nested or types.is_binary(field.type) or types.is_large_binary(field.type)

    if schema.names == INDICES:
        raise ConfigError(
            "expected images, found the order of the rows of another file; call flatten_indices() of the "
            "data set, then save_to_disk"
        )
    found = [field.name for field in schema if is_image(field)]
    marked = [name for name in found if features.get(name, {}).get("_type") == "Image"]
    chosen = [image] if image else marked or found
    if len(chosen) != 1 or chosen[0] not in found:
        expected = "an image column" if image is None else f"images in column {image}"
        advice = "set image_column" if found else "an image column holds bytes, or {bytes, path}"
        raise ConfigError(f"expected {expected}, found columns {listed}; {advice}")
    if label is not None and label not in schema.names:
        raise ConfigError(f"expected labels in column {label}, found columns {listed}; set label_column")
    classes = [name for name in schema.names if features.get(name, {}).get("_type") == "ClassLabel"]
    plain = [field.name for field in schema if field.name in LABEL_NAMES and types.is_integer(field.type)]
    if label is None and len(classes or plain) == 1:
        label = (classes or plain)[0]
    if label is not None and not _is_label(schema.field(label).type):
        kind = _kind(schema.field(label).type)
        raise ConfigError(f"expected whole numbers or text as labels, but column {label} is {kind}")
    names = features.get(label, {}).get("names") if label else None
    known = tuple(names) if isinstance(names, list) and all(isinstance(name, str) for name in names) else ()
    text = label is not None and not types.is_integer(_plain(schema.field(label).type))
    others = sorted((one.name for one in schema if _is_label(one.type)), key=lambda name: name not in LABEL_NAMES)
    return ImageColumns(chosen[0], types.is_struct(schema.field(chosen[0]).type), label, text, known, tuple(others))


def read_labels(values: Sequence[Any], columns: ImageColumns) -> tuple[Tensor | None, tuple[str, ...]]:
    """Labels (N,) int64 and the names of their classes; text is numbered in its sorted order. values: of the column.

    Raises ConfigError if a label is missing or names no class. Labels that are all -1 are none.
    """
    if None in values:
        raise ConfigError(
            f"expected a label in every row of column {columns.label}, but row {values.index(None)} has none"
        )
    if columns.text:
        classes, numbers = np.unique(np.array(values, dtype=object).astype(str), return_inverse=True)
        return torch.from_numpy(numbers.astype(np.int64)), tuple(classes.tolist())
    if values and {*values} == {UNKNOWN}:
        return None, ()
    most = len(columns.classes) - 1 if columns.classes else MOST_LABEL
    for row, value in enumerate(values):
        if not 0 <= value <= most:
            raise ConfigError(f"expected labels 0 to {most} in column {columns.label}, but row {row} has {value}")
    return torch.tensor(values, dtype=torch.int64), columns.classes


def _features(schema: Any) -> dict[str, Any]:
    """What `datasets` notes about the columns: {} if it did not write them."""
    try:
        features = json.loads((schema.metadata or {})[FEATURES])["info"]["features"]
        return {name: one for name, one in features.items() if isinstance(one, dict)}
    except (KeyError, ValueError, TypeError, AttributeError):
        return {}


def _is_label(kind: Any) -> bool:
    import pyarrow.types as types

    kind = _plain(kind)
    return types.is_integer(kind) or types.is_string(kind) or types.is_large_string(kind)


def _plain(kind: Any) -> Any:
    """The type of the values of a categorical column, as pandas writes classes, else the type itself."""
    import pyarrow.types as types

    return kind.value_type if types.is_dictionary(kind) else kind


def _kind(kind: Any) -> str:
    text = str(kind)
    return text if len(text) <= 40 else f"{text[:40]}.."
