"""Decodes picture files (PNG, JPEG, TIFF, BMP, WebP, GIF) of any size and mode into source pixels, with Pillow."""

import hashlib
import io
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import (
    BmpImagePlugin,
    GifImagePlugin,
    Image,
    ImageOps,
    JpegImagePlugin,
    PngImagePlugin,
    PpmImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

from hcr.config.errors import DataError, one_line
from hcr.config.text import printable
from hcr.data.files import START_BYTES, what_it_is
from hcr.data.pixels import Images
from hcr.data.preparation import Preparation
from hcr.data.raw import Picture

# Importing a plugin registers its format; Pillow by itself registers only some when it opens a picture.
PLUGINS = (
    PngImagePlugin.PngImageFile,
    JpegImagePlugin.JpegImageFile,  # also opens MPO, as cameras save it
    TiffImagePlugin.TiffImageFile,
    BmpImagePlugin.BmpImageFile,
    WebPImagePlugin.WebPImageFile,
    GifImagePlugin.GifImageFile,
    PpmImagePlugin.PpmImageFile,
)
FORMATS = tuple(plugin.format for plugin in PLUGINS)
STARTS = (b"\x89PNG", b"\xff\xd8", b"II*\0", b"MM\0*", b"BM", b"RIFF", b"GIF8", b"P4", b"P5", b"P6")  # of pictures
GRAY = ("1", "L", "LA", "La", "I;16", "I;16B", "I;16L", "I;16N", "I", "F")  # Pillow's modes without colour
ROTATED = ("JPEG", "MPO", "WEBP")  # formats whose rotation is read without the pixels; of a TIFF, Pillow applies it
ORIENTATION = 0x0112  # EXIF tag; 5 to 8 swap height and width
ROWS = 64  # of an image at a time
MOST_PIXELS = 2**26  # of one picture: 67 million, so 200 MB of RGB


@dataclass(frozen=True)
class Header:
    """What a picture's header declares.

    Attributes:
        size: height, width, upright (but for a PNG whose EXIF data comes behind its pixels).
        is_gray: True if its mode has no colour.
    """

    size: tuple[int, int]
    is_gray: bool


@dataclass(frozen=True)
class Decoded:
    """A batch of pictures.

    Attributes:
        hashes: (n, 32), SHA-256 of the source pixels; of one channel where `is_gray`, else of three.
        hashes_rgb: (n, 32), of three channels.
        sizes: (n, 2), height and width of the source images.
        is_gray: (n,), True where all channels are equal.
        prepared: (n, h, w, c), or None if the pictures were decoded only.
        sources: the source images, if they were asked for and are of one size.
        darkest, brightest: the least and the greatest pixel of the source images; 255 and 0 without any.
        broken: position in the batch and message of each picture that cannot be read; it has no row above.
    """

    hashes: NDArray[np.uint8]
    hashes_rgb: NDArray[np.uint8]
    sizes: NDArray[np.int64]
    is_gray: NDArray[np.bool_]
    prepared: Images | None
    sources: Images | None
    darkest: int
    brightest: int
    broken: tuple[tuple[int, str], ...]


def read_header(picture: Picture) -> Header:
    """The size and mode that a picture declares; its pixels are not decoded.

    Raises:
        DataError: it is no picture, or too large.
    """
    with warnings.catch_warnings(action="ignore"), _opened(picture) as image:  # of metadata that is not used
        size = (image.height, image.width)
        if (image.format in ROTATED or "exif" in image.info) and _is_turned(image):
            size = size[::-1]
        return Header(size, image.mode in GRAY)


def decode(picture: Picture) -> Images:
    """The pixels (H, W, 1) or (H, W, 3) of a picture, upright by its EXIF rotation.

    16 bits become 8. A transparent picture is put on white if its ink is dark, else on black. A picture whose channels
    are all equal has one channel.

    Raises:
        DataError: it is no picture, damaged, too large, animated, or of floats.
    """
    try:
        with warnings.catch_warnings(action="ignore"), _opened(picture) as image:  # as above
            image.load()
            pixels = _upright_pixels(image, picture)
    except DataError:
        raise
    except Exception as error:  # Pillow's plugins raise many types for damaged files
        raise DataError(f"{printable(picture.name)}: expected a whole picture ({one_line(error)})") from error
    if pixels.shape[2] == 3 and (pixels == pixels[..., :1]).all():
        return np.ascontiguousarray(pixels[..., :1])
    return pixels


def decode_batch(
    pictures: Sequence[Picture],
    preparation: Preparation,
    prepared_size: tuple[int, int],
    keeps_sources: tuple[int, int, int] | None,
) -> Decoded:
    """Decode, hash and prepare pictures.

    Args:
        prepared_size: of the prepared images.
        keeps_sources: also return the source images, if all have this shape; None: not.
    """
    hashes, hashes_rgb, sizes, is_gray, broken, prepared, sources = [], [], [], [], [], [], []
    darkest, brightest = 255, 0
    for position, picture in enumerate(pictures):
        try:
            image = decode(picture)
            ready = preparation.apply(image)
            if ready.shape[:2] != prepared_size:
                raise DataError(
                    f"{printable(picture.name)}: expected an image of {prepared_size[0]}x{prepared_size[1]} like the"
                    f" others, got {image.shape[0]}x{image.shape[1]}; set dataset.image_size=[height,width]"
                )
            if keeps_sources is not None and image.shape[:2] != keeps_sources[:2]:
                keeps_sources = None
        except DataError as error:
            broken.append((position, str(error)))
            continue
        darkest, brightest = min(darkest, int(image.min())), max(brightest, int(image.max()))
        gray = image.shape[2] == 1
        rgb = np.repeat(image, 3, axis=2) if gray else image
        hashes.append(hashlib.sha256(np.ascontiguousarray(image).data).digest())
        hashes_rgb.append(hashlib.sha256(np.ascontiguousarray(rgb).data).digest())
        sizes.append(image.shape[:2])
        is_gray.append(gray)
        prepared.append(ready)
        if keeps_sources is not None:
            sources.append(image if keeps_sources[2] == 1 else rgb)
    count = len(hashes)
    shape = (*prepared_size, preparation.channels)
    return Decoded(
        hashes=np.frombuffer(b"".join(hashes), np.uint8).reshape(count, 32),
        hashes_rgb=np.frombuffer(b"".join(hashes_rgb), np.uint8).reshape(count, 32),
        sizes=np.array(sizes, np.int64).reshape(count, 2),
        is_gray=np.array(is_gray, bool),
        prepared=np.stack(prepared) if prepared else np.zeros((0, *shape), np.uint8),
        sources=None if keeps_sources is None else np.stack(sources) if sources else None,
        darkest=darkest,
        brightest=brightest,
        broken=tuple(broken),
    )


def _is_turned(image: Image.Image) -> bool:
    try:
        return image.getexif().get(ORIENTATION, 1) in (5, 6, 7, 8)
    except Exception:  # damaged metadata; the pixels may be whole
        return False


def _opened(picture: Picture) -> Image.Image:
    content = picture.content
    name = printable(picture.name)
    try:
        image = Image.open(io.BytesIO(content) if isinstance(content, bytes) else content, formats=FORMATS)
    except Image.DecompressionBombError as error:
        raise DataError(f"{name}: expected a picture of at most {MOST_PIXELS:,} pixels ({one_line(error)})") from error
    except Exception as error:  # as above
        why = f" ({error.strerror})" if isinstance(error, OSError) and error.strerror else _instead(content)
        raise DataError(f"{name}: expected a picture (PNG, JPEG, TIFF, BMP or WebP){why}") from error
    if image.width * image.height > MOST_PIXELS:
        image.close()
        raise DataError(f"{name}: expected at most {MOST_PIXELS:,} pixels, got {image.height:,} x {image.width:,}")
    return image


def _instead(content: Path | bytes) -> str:
    """A clause that says what a file is that is no picture."""
    if isinstance(content, bytes):
        start = content[:START_BYTES]
    else:
        with content.open("rb") as file:
            start = file.read(START_BYTES)
    if start.startswith(STARTS):
        return ", got one that is damaged"
    what = what_it_is(start)
    return "" if what is None else f", got {what.partition(';')[0]}"


def _upright_pixels(image: Image.Image, picture: Picture) -> Images:
    name = printable(picture.name)
    if image.format != "MPO" and getattr(image, "n_frames", 1) > 1:
        raise DataError(f"{name}: expected one image, got {image.n_frames} frames or pages")  # type: ignore[attr-defined]
    if image.getexif().get(ORIENTATION, 1) != 1:  # `exif_transpose` copies, whatever the rotation
        image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I"):
        values = np.asarray(image)
        if values.min() < 0 or values.max() > 65535:
            raise DataError(f"{name}: expected pixels of 8 or 16 bits, got {values.min()} to {values.max()}")
        return np.rint(values / 257).astype(np.uint8)[..., np.newaxis]
    if image.mode == "F":
        raise DataError(f"{name}: expected pixels of 8 or 16 bits, got floats")
    if image.has_transparency_data:
        return _without_alpha(np.asarray(image.convert("RGBA")))
    if image.mode in ("1", "L"):
        return np.asarray(image if image.mode == "L" else image.convert("L"))[..., np.newaxis]
    return np.asarray(image.convert("RGB"))


def _without_alpha(rgba: Images) -> Images:
    """RGBA (H, W, 4) on white if its ink is dark, else on black: (H, W, 3)."""
    weight = brightness = 0
    for block in _blocks(rgba):
        alpha = block[..., 3]
        weight += int(alpha.sum())
        brightness += int((block[..., :3].sum(axis=2) * alpha).sum())
    ground = 255 if brightness < 3 * 128 * weight or not weight else 0
    found = np.empty((*rgba.shape[:2], 3), np.uint8)
    for start, block in zip(range(0, len(rgba), ROWS), _blocks(rgba), strict=True):
        alpha = block[..., 3:]
        found[start : start + ROWS] = (block[..., :3] * alpha + ground * (255 - alpha) + 127) // 255
    return found


def _blocks(rgba: Images) -> Iterator[NDArray[np.uint64]]:
    """The rows of an image, a few at a time, in numbers that do not overflow."""
    for start in range(0, len(rgba), ROWS):
        yield rgba[start : start + ROWS].astype(np.uint64)
