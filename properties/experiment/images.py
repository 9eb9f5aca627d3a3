"""The images: scikit-learn's handwritten digits, or a file that the user names."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..model.contract import Array
from ..support.extras import hint

TRAINING = 1000  # images, as in "Deep Learning from Scratch"
HELD_OUT = 1000  # at most
CLASSES = 1000


@dataclass(frozen=True)
class Images:
    """Images (n, pixels) in float32 and their classes (n,), for training and held out."""

    x: Array
    t: Array
    held_x: Array
    held_t: Array


class BadImages(Exception):
    """The images cannot be had or used; the text says why in one line."""


def digits() -> Images:
    """Return the 1797 digits of 8 x 8 pixels: 1000 to train on, 797 held out.

    Raises:
        BadImages: scikit-learn is not there.
    Source: E. Alpaydin, C. Kaynak (1998), Optical Recognition of Handwritten Digits, UCI.
    """
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        fix = f"{hint('experiment')}, or give --data FILE.npz"
        raise BadImages(f"the handwritten digits need scikit-learn; {fix}") from error
    found = load_digits()
    return split(found.data, found.target)


def from_file(path: Path) -> Images:
    """Return the images of a file of NumPy arrays, x (n, ...) and t (n,); nothing is unpickled.

    Raises:
        BadImages: no such file, not an .npz file, no such arrays, or arrays that do not fit.
    """
    try:
        with open(path, "rb") as stream:  # np.load leaves the file open where an archive is cut
            arrays = np.load(stream, allow_pickle=False)
            if isinstance(arrays, np.ndarray):
                raise BadImages("it holds one array")
            for name in ("x", "t"):
                if name not in arrays.files:
                    raise BadImages(f"{name} is missing")
            x, t = arrays["x"], arrays["t"]
    except FileNotFoundError as error:
        raise _bad(path, "no such file") from error
    except Exception as error:  # NumPy and zipfile raise thirteen kinds on files that are broken
        why = " ".join(str(error).split())[:120] or type(error).__name__
        raise _bad(path, why) from error
    try:
        return split(x, t)
    except BadImages as error:
        raise BadImages(f"--data={path}: {error}") from error


def _bad(path: Path, found: str) -> BadImages:
    wanted = "expected an .npz file with the arrays x and t, numbers only"
    return BadImages(f"--data={path}: {found}: {wanted}")


def split(x: Any, t: Any) -> Images:
    """Return images in a fixed random order: 1000 to train on (3/5 of few), the rest held out.

    x is scaled so that its largest magnitude is 1.

    Raises:
        BadImages: shapes, classes or numbers that no net can be trained on.
    """
    if x.ndim < 2 or x.dtype.kind not in "fiub":
        raise BadImages(f"x={x.dtype} {x.shape}: expected numbers (n, ...), one image per row")
    if t.shape != x.shape[:1] or t.dtype.kind not in "iu":
        raise BadImages(f"t={t.dtype} {t.shape}: expected integers ({len(x)},), one per image")
    if len(x) < 200:
        raise BadImages(f"x has {len(x)} images: expected at least 200")
    if t.min() < 0 or t.max() >= CLASSES or t.min() == t.max():
        given = f"t is from {t.min()} to {t.max()}"
        raise BadImages(f"{given}: expected classes from 0 to at most {CLASSES - 1}, two or more")
    first = min(TRAINING, len(x) * 3 // 5)
    order = np.random.default_rng(0).permutation(len(x))[: first + HELD_OUT]
    flat, t = x[order].reshape(len(order), -1).astype(np.float64), t[order].astype(np.int64)
    largest = np.abs(flat).max(initial=0.0)
    if not 0 < largest < np.inf:
        raise BadImages(f"the largest magnitude in x is {largest}: expected a finite number, not 0")
    flat = (flat / largest).astype(np.float32)
    return Images(flat[:first], t[:first], flat[first:], t[first:])
