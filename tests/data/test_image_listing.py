"""Which files below a folder are its images: all that are there, each once, and none left out without a word."""

import pytest
from PIL import Image

from lit_diffusion.data.image_listing import list_images
from lit_diffusion.data.image_set import open_images
from lit_diffusion.errors import ConfigError


def test_only_images_are_listed_sorted_and_hidden_files_are_not(tmp_path):
    for name in ("b/2.JPG", "b/10.jpeg", "a.webp", "c.tif", ".hidden.png", ".cache/x.png", "notes.txt", "png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert list_images(str(tmp_path), "root").paths == ["a.webp", "b/10.jpeg", "b/2.JPG", "c.tif"]


def test_links_within_the_folder_count_once_and_links_out_of_it_are_refused(tmp_path):
    root, outside = tmp_path / "root", tmp_path / "outside.png"
    root.mkdir()
    outside.touch()
    (root / "x.png").touch()
    (root / "again.png").symlink_to(root / "x.png")
    assert list_images(str(root), "root").paths == ["x.png"]
    for target in (outside, tmp_path):
        link = root / "link.png"
        link.symlink_to(target)
        with pytest.raises(
            ConfigError, match="^root: .*link.png links to .*, outside the folder; replace it by a copy"
        ):
            list_images(str(root), "root")
        link.unlink()


def stored(root, names, store):
    """Images `names` in a store under other names, as git-annex and hubs keep them, and links where they would be."""
    for number, name in enumerate(names):
        target = root / store / f"{number:02}/SHA256-{number}"
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(name)
        link = root / name
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(target)


@pytest.mark.parametrize("store", [".git/annex/objects", "blobs", "data/.cache"])
def test_links_to_a_store_are_images_by_their_names(tmp_path, store):
    """Of hidden targets, and of targets without a suffix."""
    names = [f"{folder}/{i}.jpg" for folder in "ab" for i in range(3)]
    stored(tmp_path, names, store)
    (tmp_path / "plain.png").touch()
    (tmp_path / "again.png").symlink_to(tmp_path / "plain.png")
    found = list_images(str(tmp_path), "root")
    assert found.paths == [*names, "plain.png"]
    assert found.note("root") is None  # nothing is left out


def test_a_target_counts_once_whatever_leads_to_it(tmp_path):
    stored(tmp_path, ["b.jpg"], ".store")
    for name in ("c.jpg", "a.jpg", "without"):
        (tmp_path / name).symlink_to(tmp_path / "b.jpg")
    found = list_images(str(tmp_path), "root")
    assert (found.paths, found.note("root")) == (["a.jpg"], None)


def test_a_link_to_a_hidden_folder_is_followed_and_one_to_a_visible_folder_is_not(tmp_path):
    """Neither for ever, where links lead back."""
    for name in (".hidden/deep/x.png", "seen/y.png"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).touch()
    (tmp_path / "link").symlink_to(tmp_path / ".hidden")
    (tmp_path / "deeper").symlink_to(tmp_path / ".hidden/deep")
    (tmp_path / "also").symlink_to(tmp_path / "seen")
    (tmp_path / ".hidden/deep/back").symlink_to(tmp_path / ".hidden")
    (tmp_path / ".hidden/deep/top").symlink_to(tmp_path)
    (tmp_path / "seen/top").symlink_to(tmp_path)
    assert list_images(str(tmp_path), "root").paths == ["deeper/x.png", "seen/y.png"]


def test_an_image_that_has_not_been_fetched_is_named(tmp_path):
    """git-annex leaves a link to nothing."""
    (tmp_path / "x.png").touch()
    (tmp_path / "a.png").symlink_to(tmp_path / ".git/annex/objects/kx/none")
    with pytest.raises(ConfigError, match="^root: .*a.png links to .*none, which is missing; fetch it .*git annex get"):
        list_images(str(tmp_path), "root")


def test_a_link_to_itself_is_refused(tmp_path):
    (tmp_path / "x.png").symlink_to(tmp_path / "x.png")
    with pytest.raises(ConfigError, match="^root: .*x.png links to .*x.png, which is missing; fetch it"):
        list_images(str(tmp_path), "root")


def test_other_names_of_the_formats_are_images(tmp_path):
    names = ["1.pgm", "2.PNM", "3.pbm", "4.jfif", "5.jpe", "6.dib"]
    for name in names:
        (tmp_path / name).touch()
    assert list_images(str(tmp_path), "root").paths == names


def test_many_kinds_of_other_files_are_counted_and_the_first_named(tmp_path):
    for name in ("x.png", *(f"{i}.{end}" for end in ("gif", "txt", "csv", "svg", "npy", "mp4") for i in range(3))):
        (tmp_path / name).touch()
    said = list_images(str(tmp_path), "root").note("root")
    assert said.startswith("root: images: 1; files left out because they are not named as images: 18 (3 .")
    assert said.endswith(", others)")


def test_images_to_be_scored_say_it_too(tmp_path):
    Image.new("L", (4, 4)).save(tmp_path / "x.png")
    assert open_images(str(tmp_path)).note is None
    (tmp_path / "x.gif").touch()
    assert open_images(str(tmp_path)).note == (
        f"{tmp_path}: images: 1; files left out because they are not named as images: 1 (1 .gif)"
    )
