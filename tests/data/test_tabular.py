"""Files of vectors: every format holds the same rows, and what is wrong in one is named by its place."""

import numpy as np
import pytest
import torch

from lit_diffusion.data import BinarySequences, Heartbeat, SwissRoll, Vectors
from lit_diffusion.data.tabular import set_aside
from lit_diffusion.data.tabular_columns import Columns
from lit_diffusion.data.tabular_files import read_table
from lit_diffusion.data.tabular_labels import class_name
from lit_diffusion.errors import ConfigError

ROWS = np.random.default_rng(0).normal(size=(40, 3)) * [1, 1000, 1e-4] + [0, 1e5, 0]
TABLE = "a,b,c\n1,2,x\n\n# a remark\n3,5,y\n4,4,x\n"


@pytest.fixture
def write(tmp_path):
    def file(name, content):
        (tmp_path / name).write_bytes(content.encode() if isinstance(content, str) else content)
        return str(tmp_path / name)

    return file


def write_parquet(path, **columns):
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    pq.write_table(pa.table(columns), path)
    return str(path)


def same_batches(a, b):
    a.setup()
    b.setup()
    assert a.sizes == b.sizes
    pairs = [*zip(a.train_dataloader(), b.train_dataloader()), *zip(a.eval_batches("test"), b.eval_batches("test"))]
    return len(pairs) > 2 and all(torch.equal(x, y) for x, y in pairs)


def test_a_swiss_roll_from_a_file_is_served_like_the_swiss_roll(tmp_path):
    """Bit for bit, in the same batches: so a training on it is the same."""
    roll = SwissRoll(batch_size=256, num_train=1_000, num_test=300, seed=3)
    roll.setup()
    np.savez(tmp_path / "roll.npz", **{split: roll.images(split).numpy() for split in ("train", "test")})
    files = {"file": f"{tmp_path}/roll.npz:train", "test_file": f"{tmp_path}/roll.npz:test"}
    assert same_batches(Vectors(**files, dimensions=2, batch_size=256, seed=3, standardize=False), roll)


def test_heartbeats_written_by_hand_are_served_like_the_heartbeat(write):
    beats = ["".join("1" if (i - phase) % 5 == 0 else "0" for i in range(20)) for phase in range(5)]
    lines = "\n".join(",".join(beat) for beat in beats)
    ours = {"file": write("train.csv", "\n".join([lines] * 20)), "test_file": write("test.csv", lines)}
    heartbeat = Heartbeat(batch_size=32, seed=3, num_train=100, num_test=5)
    assert same_batches(BinarySequences(**ours, dimensions=20, batch_size=32, seed=3), heartbeat)


def test_every_format_holds_the_same_rows(tmp_path):
    np.save(tmp_path / "x.npy", ROWS)
    np.save(tmp_path / "f.npy", np.asfortranarray(ROWS))
    np.savez(tmp_path / "x.npz", ROWS)
    np.savez_compressed(tmp_path / "two.npz", other=ROWS[:2], x=ROWS)
    np.savetxt(tmp_path / "x.csv", ROWS, delimiter=",", fmt="%.17g", header="a,b,c", comments="")
    np.savetxt(tmp_path / "x.tsv", ROWS, delimiter="\t", fmt="%.17g", header="a b c")
    np.savetxt(tmp_path / "x.txt", ROWS, fmt="%.17g")
    files = dict.fromkeys(("x.npy", "f.npy", "x.npz", "two.npz:x", "x.csv", "x.tsv")) | {"x.txt": " "}
    for name, delimiter in files.items():
        assert np.array_equal(read_table(f"{tmp_path}/{name}", Columns(), delimiter=delimiter).values, ROWS), name


def test_parquet_holds_columns_or_one_column_of_vectors(tmp_path):
    columns = {name: ROWS[:, i] for i, name in enumerate("abc")}
    table = read_table(write_parquet(tmp_path / "x.parquet", **columns), Columns(["c", "a"], label="b"))
    assert np.array_equal(table.values, ROWS[:, [2, 0]]) and table.names == ["c", "a"]
    assert [float(label) for label in table.labels] == ROWS[:, 1].tolist()
    assert table.labels == [str(value) for value in ROWS[:, 1].tolist()]
    vectors = write_parquet(tmp_path / "v.parquet", id=list(range(40)), v=ROWS.tolist())
    assert np.array_equal(read_table(vectors, Columns(["v"])).values, ROWS)
    data = Vectors(vectors, 3, columns=["v"], test_file=vectors, standardize=False)
    data.setup()
    assert np.array_equal(data.images("test"), ROWS.astype(np.float32))


def test_columns_are_chosen_by_name_or_number_and_text_may_be_the_label(write):
    file = write("x.csv", TABLE)
    bits = write("bits.csv", "True,0,u\nFALSE,1,v\n1,1,u\n")
    data = BinarySequences(bits, 2, columns=[2, 1], label_column=3, header=False)
    data.setup()
    assert data.images("train").tolist() == [[0, 1], [1, 0], [1, 1]]
    data = Vectors(file, 2, columns=["b", "a"], label_column="c", standardize=False)
    data.setup()
    assert data.images("train").tolist() == [[2, 1], [5, 3], [4, 4]]
    assert data.labels("train").tolist() == [0, 1, 0] and data.class_names == ("x", "y")


def test_a_number_is_a_class_by_its_value_whatever_the_format(write, tmp_path):
    """1, 1.0 and 01 are one class; classes are numbered in the order of the numbers, then of the text."""
    classes = [10.0, 9.0, -2.0, 0.5, 10.0]
    np.save(tmp_path / "x.npy", np.stack([np.arange(5.0), classes], axis=1))
    files = {
        write("x.csv", "0,10\n1,9.0\n2,-2\n3,.50\n4,010."): 2,
        str(tmp_path / "x.npy"): 2,
        write_parquet(tmp_path / "x.parquet", a=range(5), b=classes): "b",
        write_parquet(tmp_path / "text.parquet", a=range(5), b=["10", "9", "-2.0", "0.5", "10.0"]): "b",
    }
    for file, label in files.items():
        data = Vectors(file, 1, label_column=label)
        data.setup()
        assert data.class_names == ("-2", "0.5", "9", "10") and data.labels("train").tolist() == [3, 2, 0, 1, 3], file
    data = Vectors(write("y.csv", "0,b\n1,1e1\n2,9\n3,a"), 1, label_column=2, header=False)
    data.setup()
    assert data.class_names == ("9", "10", "a", "b")


def test_the_name_of_a_class_keeps_every_digit():
    names = {"12345678901234567890": None, "-0": "0", "1_0": None, "１": None, "True": None, "1e300": "1e+300"}
    assert {text: class_name(text) for text in names} == {text: name or text for text, name in names.items()}
    assert [class_name(value) for value in (2**53 + 1, True, -0.0, 1e2)] == ["9007199254740993", "True", "0", "100"]
    assert class_name("0" * 10**5 + "7") == "7"


def test_a_row_without_a_class_is_refused_by_its_place(write, tmp_path):
    pa = pytest.importorskip("pyarrow")
    x = np.array([[1, 0], [2, np.nan], [3, np.inf]])
    np.save(tmp_path / "x.npy", x)
    np.save(tmp_path / "inf.npy", x[[0, 2]])
    cases = {
        write("a.csv", "a,b\n1,x\n\n2,\n3,x"): "a.csv, line 4, column b: expected a class, got nothing; fill it in",
        write("b.csv", "a,b\n1,0\n2, NaN"): "b.csv, line 3, column b: expected a class, got NaN",
        str(tmp_path / "x.npy"): "x.npy, row 2, column 2: expected a class, got nan",
        str(tmp_path / "inf.npy"): "inf.npy, row 2, column 2: expected a class, got inf",
    }
    columns = {
        "row 2, column b: expected a class, got nothing": ["x", None, "y"],
        "row 3, column b: expected a class, got nan": [0.0, 1.0, np.nan],
        "row 3, column b: expected a class, got nothing; fill it in, or remove the row": ["x", "y", " "],
        "column b: expected numbers or text as classes, got list<element: int64>; use another": [[0], [1], [2]],
        "column b: expected numbers or text as classes, got binary": [b"x", b"y", b"z"],
        "row 1, column b: expected a class, got nothing": pa.nulls(3),
    }
    for i, (message, column) in enumerate(columns.items()):
        cases[write_parquet(tmp_path / f"{i}.parquet", a=range(3), b=column)] = message
    for file, message in cases.items():
        with pytest.raises(ConfigError) as error:
            Vectors(file, 1, label_column="2" if file.endswith("npy") else "b").setup()
        assert message in str(error.value) and "\n" not in str(error.value), file


def test_a_first_line_without_a_number_holds_names(write):
    assert read_table(write("x.csv", "\ufeffa,b\n1,2\n3,4"), Columns()).names == ["a", "b"]
    assert read_table(write("y.csv", "0,1\n1,2\n3,4"), Columns()).names == ["1", "2"]
    assert read_table(write("y.csv", "0,1\n1,2\n3,4"), Columns(), header=True).names == ["0", "1"]
    assert len(read_table(write("z.csv", ",a\n0,2\n1,4"), Columns(["a"])).values) == 2  # as pandas writes an index


def test_rows_set_aside_do_not_depend_on_the_seed_and_change_little_with_new_rows(write):
    file = write("x.csv", "\n".join(map(str, range(100))))
    splits = []
    for seed in (0, 1):
        data = Vectors(file, 1, num_test=20, seed=seed, standardize=False)
        data.setup()
        assert sorted(torch.cat([data.images("train"), data.images("test")])[:, 0].tolist()) == list(range(100))
        splits.append(data.images("test"))
    assert torch.equal(*splits) and len(splits[0]) == 20
    before, after = set_aside(1000, 100), set_aside(1010, 100)
    assert (before & after[:1000]).sum() >= 90 and (before.nonzero()[0] > 500).sum() > 30


def test_bits_may_be_written_in_three_ways(tmp_path):
    for name, bits in (("a", [[0, 1], [1, 1]]), ("b", [[-1.0, 1], [1, 1]]), ("c", [[False, True], [True, True]])):
        np.save(tmp_path / f"{name}.npy", np.array(bits))
        data = BinarySequences(f"{tmp_path}/{name}.npy", 2)
        data.setup()
        assert data.images("train").tolist() == [[0, 1], [1, 1]] and data.images("train").dtype == torch.uint8


REFUSED = {
    "x.csv, line 3, column b: expected a finite number below 3.4e38, got nan": "a,b\n1,2\n3,nan",
    "x.csv, line 2, column 1: expected a finite number below 3.4e38, got -inf": "1,2\n-inf,4",
    "x.csv, line 4, column b: expected a number, got 'NA'; fix or remove": "a,b\n1,2\n\n3,NA",
    "x.csv, line 2, column a: expected a number, got nothing": "a,b\n,2\n3,4",
    "x.csv, line 3, column a: expected a number, got nothing": "a,b\n1,2\n,\n3,4",
    "x.csv, line 3: expected 2 cells as in line 1, got 3": "a,b\n1,2\n3,4,5",
    "column b is 2 in all 3 training rows, so that it has no density": "a,b\n1,2\n3,2\n4,2",
    "expected 1, the columns of": "a\n1\n2",
    "expected 3, the columns of": "a,b,c\n1,2,3\n4,5,6",
    "x.csv: expected 2 or more rows, found 1": "1,2",
    "x.csv: expected rows of numbers, found none": "a,b",
    "if ';' separates them, set delimiter: ';'": "a;b\n1;2\n3;4",
    "has both numbers and text (a, 2020); use true if": "a,2020\n1,2\n3,4",
    "x.csv: expected text in UTF-8": b"\xe9,b\n1,2\n3,4",
    "x.csv, line 3: unexpected end of data": 'a,b\n"1,2\n3,4',
    "two columns are named 'a'": "a,a\n1,2\n3,4",
    "x.csv, line 1, column 1: expected a number, got '1_000'": "1_000,2\n3,4",
    "x.csv, line 2, column 2: expected a number, got '４'": "1,2\n3,４\n5,6",
    "x.csv, line 1, column 1: expected a number, got '١'": "١,٢\n3,4",
}


@pytest.mark.parametrize("message", REFUSED)
def test_a_text_file_that_holds_no_vectors_is_refused_by_its_place(write, message):
    with pytest.raises(ConfigError) as error:
        Vectors(write("x.csv", REFUSED[message]), 2).setup()
    assert message in str(error.value) and error.value.key.startswith("data.")


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((3, 2), complex), "expected an array of numbers, got complex128"),
        (np.zeros((3, 2, 2)), "expected shape (N, D), one example a row, got (3, 2, 2)"),
        (np.zeros((0, 2)), "expected 2 or more rows, found 0"),
        (np.array([[1e300, 2], [3, 4]]), "row 1, column 1: expected a finite number below 3.4e38, got 1e+300"),
        (np.array([["a", "b"]]), "expected an array of numbers, got <U1"),
    ],
)
def test_an_array_that_holds_no_vectors_is_refused(tmp_path, array, message):
    np.save(tmp_path / "x.npy", array)
    with pytest.raises(ConfigError) as error:
        Vectors(f"{tmp_path}/x.npy", 2).setup()
    assert message in str(error.value)


def test_a_parquet_file_that_holds_no_vectors_is_refused(tmp_path):
    cases = {
        "row 2, column a: expected a number, got nothing": {"a": [1, None], "b": [1.0, 2.0]},
        "column s: expected numbers, or a single column of lists of numbers, got string; choose others by `columns`, "
        "such as [a]": {"a": [1, 2], "s": ["x", "y"]},
        "column v: expected numbers, or a single column of lists of numbers, got list<element: double>; choose others "
        "by `columns`, such as [a, b] or [v]": {"a": [1, 2], "b": [1, 2], "v": [[1.0, 2.0], [3.0, 4.0]]},
        "column e: expected numbers, or a single column of lists of numbers, got list<element: list<element: int64>>; "
        "convert it": {"e": [[[1]], [[2]]]},
        "row 2, column v: expected 2 numbers as in row 1, got 1": {"v": [[1.0, 2.0], [3.0]]},
        "row 2, column v: expected 2 numbers, got an empty one": {"v": [[1.0, 2.0], [None, 3.0]]},
        "row 1, column v: expected one or more numbers, got 0": {"v": [[], [3.0]]},
    }
    for message, columns in cases.items():
        with pytest.raises(ConfigError) as error:
            Vectors(write_parquet(tmp_path / "x.parquet", **columns), 2).setup()
        assert message in str(error.value)


def test_bits_of_two_kinds_in_one_file_are_refused(write):
    for text in ("0,1\n1,2", "-1,1\n1,0", "0,1\n0.5,1"):
        with pytest.raises(ConfigError, match="x.csv, line 2, column .: expected 0 and 1, or -1 and 1, got"):
            BinarySequences(write("x.csv", text), 2).setup()


def test_files_and_columns_that_do_not_exist_are_refused_with_those_that_do(write, tmp_path):
    file = write("x.csv", TABLE)
    np.savez(tmp_path / "two.npz", train=ROWS, test=ROWS)
    cases = [
        ("none.csv", {}, "data.file", "expected an existing file, got 'none.csv'"),
        (write("x.xlsx", ""), {}, "data.file", "expected a file named .npy, .npz, .csv"),
        (write("junk.npz", "x"), {}, "data.file", "cannot be read as NPZ"),
        (write("junk.npy", "x"), {}, "data.file", "cannot be read as an array"),
        (write("junk.parquet", "x"), {}, "data.file", "junk.parquet: "),
        (f"{tmp_path}/two.npz", {}, "data.file", "expected the name of an array, got none; use"),
        (f"{tmp_path}/two.npz:x", {}, "data.file", "one of train, test"),
        (file, {"columns": ["a", "z"]}, "data.columns", "has no column 'z'; use one of a, b, c"),
        (file, {"columns": ["a", "b"], "label_column": "z"}, "data.label_column", "has no column 'z'; use one of c"),
        (file, {"columns": ["a", "z"], "label_column": "c"}, "data.columns", "has no column 'z'; use one of a, b"),
        (
            write("twice.csv", "a,a,b\n1,2,3\n4,5,6"),
            {"columns": ["a", "b"]},
            "data.columns",
            "has two columns 'a'; use one of b",
        ),
        (
            file,
            {"columns": ["a", "b"], "test_file": write("y.csv", "a,c\n1,2\n3,4")},
            "data.test_file",
            "no column 'b'",
        ),
        (file, {"columns": ["a", "b"], "test_file": write("z.csv", "a,b\n1,2\n3,nan")}, "data.test_file", "got nan"),
    ]
    for path, options, key, message in cases:
        with pytest.raises(ConfigError) as error:
            Vectors(path, 2, **options).setup()
        assert message in str(error.value) and error.value.key == key
    with pytest.raises(ConfigError, match="num_test: expected 1 or less for 3 rows, got 2"):
        Vectors(file, 2, columns=["a", "b"], num_test=2).setup()
    labelled = write("new.csv", "a,b,c\n1,2,z\n3,4,x")
    with pytest.raises(ConfigError, match="no training row has the class 'z' of a test row"):
        Vectors(file, 2, columns=["a", "b"], label_column="c", test_file=labelled).setup()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dimensions": 0}, "dimensions: expected 1 or more, got 0"),
        ({"num_test": -1}, "num_test: expected 0 or more, got -1"),
        ({"num_test": 1, "test_file": "y.csv"}, "test_file: num_test already sets rows of file aside"),
        ({"delimiter": "::"}, "delimiter: expected one character, got '::'"),
        ({"columns": ["a", "b", "a"]}, "columns: expected one or more different columns, got a, b, a"),
        ({"columns": [1, "1"]}, "columns: expected one or more different columns, got 1, 1"),
        ({"columns": []}, "columns: expected one or more different columns, got none"),
        ({"columns": [1, 2], "label_column": 2}, "label_column: expected a column besides `columns`, got '2'; omit it"),
    ],
)
def test_settings_that_contradict_are_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        Vectors(**{"file": "x.csv", "dimensions": 2, **options})
