"""The colours of curves, as report.css has them: visible on both grounds, and distinguishable for the colour-blind."""

import re
from itertools import combinations

import numpy as np
import pytest

from lit_diffusion.report.grouping import COLOURS
from lit_diffusion.report.page import read_asset

# Machado, Oliveira, Fernandes 2009, severity 1, of linear RGB
BLINDNESS = {
    "none": np.eye(3),
    "protan": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    ),
    "deutan": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
    ),
    "tritan": np.array(
        [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]]
    ),
}
TO_XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])


def linear(colour):
    """sRGB to linear RGB."""
    values = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def lab(rgb):
    """CIELAB of linear RGB, D65."""
    xyz = TO_XYZ @ np.clip(rgb, 0, 1) / [0.9505, 1, 1.089]
    x, y, z = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def contrast(a, b):
    """Of WCAG 2."""
    dark, light = sorted(float(TO_XYZ[1] @ linear(colour)) for colour in (a, b))
    return (light + 0.05) / (dark + 0.05)


def pairs(name):
    """The light and the dark colour of a rule or variable of the style."""
    found = re.search(rf"{name}\W[^;]*light-dark\((#\w{{6}}), (#\w{{6}})\)", read_asset("report.css"))
    return found.groups()


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
def test_curves_have_contrast_and_differ_for_everybody(theme):
    """Any two differ by far more than what is just noticeable, 2.3, in CIELAB (CIE76)."""
    colours = [pairs(f"colour-{number}")[theme] for number in range(COLOURS)]
    assert min(contrast(colour, pairs("--ground")[theme]) for colour in colours) >= 3
    for name, matrix in BLINDNESS.items():
        seen = [lab(matrix @ linear(colour)) for colour in colours]
        assert min(np.linalg.norm(a - b) for a, b in combinations(seen, 2)) > 13, name


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
@pytest.mark.parametrize("name", ["--ink", "--muted", "--accent", "--good", "--bad", "--busy"])
def test_texts_have_the_contrast_of_wcag_aa(name, theme):
    for ground in ("--ground", "--raised", "--warn"):
        assert contrast(pairs(name)[theme], pairs(ground)[theme]) >= 4.5, ground
