"""Alpha and 16 bits: the same pixels are the same levels whatever holds them; what is not read is named."""

import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from lit_diffusion.data.image_decoding import Form, decode_record
from lit_diffusion.errors import ConfigError

PIXELS = np.random.default_rng(0).integers(0, 256, (20, 27, 4), dtype=np.uint8)
PIXELS[:8, :, 3], PIXELS[12:, 9:, 3] = 0, 255
GREY = np.random.default_rng(1).integers(0, 65536, (4, 4), dtype=np.uint16)


def levels(content, channels, size=(6, 8), num_levels=256):
    """Decoded, (H, W, C)."""
    return decode_record(content, "x", Form(size, channels, num_levels)).permute(1, 2, 0).numpy()


def png(pixels, transparent=None):
    """A PNG file of 8 or 16 bits. transparent: the colour that has no alpha."""

    def chunk(name, content):
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    height, width, channels = pixels.shape
    bits, colour = 8 * pixels.dtype.itemsize, {1: 0, 2: 4, 3: 2, 4: 6}[channels]
    parts = [chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0))]
    if transparent is not None:
        parts.append(chunk(b"tRNS", transparent.astype(">u2").tobytes()))
    rows = b"".join(b"\0" + row.astype(f">u{pixels.dtype.itemsize}").tobytes() for row in pixels)
    return b"".join([b"\x89PNG\r\n\x1a\n", *parts, chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b"")])


def tiff(stored, bits=16, white_is_zero=False, sample_format=1, order="<"):
    """A grey TIFF file of 4x4 pixels, whose bytes are given."""
    tags = {256: 4, 257: 4, 258: bits, 259: 1, 262: 1 - white_is_zero, 273: 134, 277: 1, 278: 4, 279: len(stored)}
    entries = [
        struct.pack(order + "HHIHH", tag, 3, 1, value, 0) for tag, value in (tags | {339: sample_format}).items()
    ]
    head = (b"II" if order == "<" else b"MM") + struct.pack(order + "HIH", 42, 8, len(entries))
    return head + b"".join(entries) + bytes(4) + stored


@pytest.mark.parametrize("channels", [2, 4])
@pytest.mark.parametrize("size", [(6, 8), (20, 27), (20, 20), (31, 40)])
def test_pixels_with_alpha_are_the_same_in_files_and_arrays_of_8_and_of_16_bits(channels, size):
    pixels = PIXELS[..., [0, 3] if channels == 2 else slice(None)]
    deep = pixels.astype(np.uint16) * 257
    low, high = levels(pixels, channels, size), levels(deep, channels, size, 65536)
    assert np.array_equal(levels(png(pixels), channels, size), low)
    assert np.array_equal(levels(png(deep), channels, size, 65536), high)
    assert abs(high / 257 - low).max() < 0.51
    if size[0] == 20:  # cropped at most: pixels keep what is hidden, too
        assert np.array_equal(low, pixels[:, 3:23] if size[1] == 20 else pixels)


def test_colours_are_weighted_by_their_alpha():
    """A colour stays itself at any alpha, and a hidden one does not show; alpha is what Pillow makes of it."""
    two = np.array([[[240, 0, 10, 255], [0, 240, 10, 51]]] * 2, np.uint8)
    assert levels(two, 4, (1, 1)).tolist() == [[[200, 40, 10, 153]]]
    assert levels(two[..., [0, 3]], 2, (1, 1)).tolist() == [[[200, 153]]]
    expected = Image.fromarray(PIXELS[..., 3]).crop((1, 0, 26, 20)).resize((9, 7), Image.Resampling.LANCZOS)
    assert abs(levels(PIXELS, 4, (7, 9))[..., 3].astype(int) - np.array(expected)).max() <= 1
    one = PIXELS.copy()
    one[..., :3] = (200, 30, 7)
    one[one[..., 3] == 0] = (0, 255, 0, 0)
    for number, most in ((1, 255), (257, 65535)):
        found = levels(one.astype(np.uint8 if number == 1 else np.uint16) * number, 4, (6, 8), most + 1)
        shown = found[..., 3] > most / 255 / 2
        assert abs(found[shown][:, :3] - np.array([200, 30, 7]) * number).max() <= 1 and 0 < shown.sum() < 48
        assert not found[~shown][:, :3].any()


def test_opaque_images_with_alpha_have_the_colours_of_those_without():
    opaque = np.concatenate([PIXELS[..., :3], np.full((20, 27, 1), 255, np.uint8)], axis=2)
    found = levels(opaque, 4).astype(int)
    assert (found[..., 3] == 255).all() and abs(found[..., :3] - levels(opaque[..., :3], 3)).max() <= 1
    assert np.array_equal(levels(png(opaque[..., :3]), 4), found)


@pytest.mark.parametrize("stored", [1, 3])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_a_transparent_colour_is_alpha_in_files_of_8_and_of_16_bits(stored, channels):
    pixels = PIXELS[..., :stored] // 64 * 85  # so that colours occur again
    low = levels(png(pixels, pixels[0, 0]), channels, (20, 27))
    deep = pixels.astype(np.uint16) * 257
    assert abs(levels(png(deep, deep[0, 0]), channels, (20, 27), 65536) / 257 - low).max() <= 0.5
    if channels in (2, 4):
        hidden = (pixels == pixels[0, 0]).all(axis=2)
        assert np.array_equal(low[..., -1], np.where(hidden, 0, 255)) and 1 < hidden.sum() < 300


def test_grey_tiff_files_are_read_whatever_their_order_and_their_white():
    for order in "<>":
        stored = tiff(GREY.astype(f"{order}u2").tobytes(), order=order)
        assert np.array_equal(levels(stored, 1, None, 65536)[..., 0], GREY)
    stored = tiff(GREY.astype("<u2").tobytes(), white_is_zero=True)
    assert np.array_equal(levels(stored, 1, None, 65536)[..., 0], 65535 - GREY)
    stored = tiff((GREY >> 8).astype("u1").tobytes(), bits=8, white_is_zero=True)
    assert np.array_equal(levels(stored, 1, (4, 4))[..., 0], 255 - (GREY >> 8))
    twelve = int("".join(f"{value >> 4:012b}" for value in GREY.flat), 2).to_bytes(24, "big")
    found = levels(tiff(twelve, bits=12), 1, None, 65536)[..., 0]
    assert np.array_equal(found, np.rint((GREY >> 4).astype(float) * 65535 / 4095))


@pytest.mark.parametrize("num_levels", [256, 65536])
@pytest.mark.parametrize(
    ("stored", "bits", "sample_format", "got"),
    [
        (GREY.astype("<i2"), 16, 2, "signed ones of 16"),
        (GREY.astype("i1"), 8, 2, "signed ones of 8"),
        (GREY.astype("<u4"), 32, 1, "32"),
        (GREY.astype("<f4"), 32, 3, "floating-point numbers"),
    ],
)
def test_levels_of_other_kinds_are_refused_by_their_kind(num_levels, stored, bits, sample_format, got):
    message = f"^x: expected levels of 8 or 16 unsigned bits, got {got}; convert it$"
    with pytest.raises(ConfigError, match=message):
        levels(tiff(stored.tobytes(), bits, sample_format=sample_format), 1, (4, 4), num_levels)


def test_the_other_number_of_bits_is_refused_with_the_setting_that_takes_it():
    deep, low = png(GREY[..., None]), png((GREY >> 8).astype(np.uint8)[..., None])
    colours = b"P6 4 4 65535\n" + bytes(96)
    cases = [
        (deep, (4, 4), 256, "x: expected 8 bits per channel, got more; set num_levels: 65536, or convert it"),
        (deep, None, 256, "x: expected 8 bits per channel, got more; convert it"),  # to be scored
        (GREY, (4, 4), 256, f"x: expected levels 0 to 255, got {GREY.max()}; set num_levels: 65536"),
        (low, (4, 4), 65536, "x: expected 16 bits per channel, got 8; set num_levels: 256, or convert it"),
        (
            colours,
            (4, 4),
            65536,
            "x: expected a PNG file for colours of more than 8 bits per channel, got PPM; convert",
        ),
    ]
    for content, size, num_levels, message in cases:
        with pytest.raises(ConfigError) as error:
            levels(content, 1, size, num_levels)
        assert str(error.value).startswith(message)
