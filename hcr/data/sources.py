"""Source images: what a format read, decoded to pixels 0..255, hashed, and prepared."""

import contextlib
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from hcr.config.errors import DataError
from hcr.config.text import printable
from hcr.data.batches import decode_all, progress
from hcr.data.formats import LARGEST, DataFormat
from hcr.data.mapped import new_images
from hcr.data.pictures import Header, decode, read_header
from hcr.data.pixels import Images, check_brightness, to_pixels
from hcr.data.preparation import MOSTLY, Preparation, border_brightness, median_size, spaced
from hcr.data.raw import Picture, Raw

PREPARED_AT_A_TIME = 1_000
DIGESTED_BYTES = 2**31  # source pixels up to this size are part of the digest themselves, else by their hashes
SEEN_PIXELS = 2**26  # of the pictures whose borders are looked at
MOST_NAMED = 3  # broken files in a note
HALF_BRIGHT = 0.3  # share of bright border pixels below which ink is light on dark
INVERTED = "so images are inverted"  # in a note, when `invert` is auto
UNCLEAR = "so whether ink is dark on light is not clear"


@dataclass(frozen=True)
class Sources:
    """The images of a data set, in the order in which they were read.

    Attributes:
        hashes: (n, 32), SHA-256 of the source pixels.
        prepared: (n, h, w, c).
        images: (n, H, W, C), the source images, if they are of one size and not more than DIGESTED_BYTES.
        shape: (H, W, C) if they are of one size, else None.
        sizes: (n, 2) if they are not.
        channels: 1 or 3.
        preparation: what was done to them.
        is_changed: False if `prepared` are the source images.
        kept: (n,), their rows among all that were listed; a broken file has none.
        notes: one line each.
    """

    hashes: NDArray[np.uint8]
    prepared: Images
    images: Images | None
    shape: tuple[int, int, int] | None
    sizes: NDArray[np.int64] | None
    channels: int
    preparation: Preparation
    is_changed: bool
    kept: NDArray[np.intp]
    notes: tuple[str, ...]


def read_sources(raw: Raw, cfg: DataFormat, source: str, work: Path | None) -> Sources:
    """Decode, hash and prepare the images of `raw`.

    Args:
        source: the file, for messages.
        work: a folder for large arrays; None: they are kept in memory.

    Raises:
        DataError: they are no images, or not those that `cfg` declares.
    """
    if isinstance(raw.parts[0].images, np.ndarray):
        return _of_arrays(raw, cfg, source, work)
    pictures = [picture for part in raw.parts for picture in part.images]
    return _of_pictures(pictures, raw, cfg, source, work)


def _of_arrays(raw: Raw, cfg: DataFormat, source: str, work: Path | None) -> Sources:
    arrays: dict[str, NDArray[np.generic]] = {}
    for part in raw.parts:
        name = part.names[0]
        arrays[name if name not in arrays else f"{name} of {part.side}"] = np.asarray(part.images)
    converted, notes = to_pixels(arrays, cfg, source)
    images = converted[0] if len(converted) == 1 else np.concatenate(converted)
    if images.shape[3] == 3 and cfg.image_shape is None and (images == images[..., :1]).all():
        images = images[..., :1]  # as of pictures
        notes.append(f"{source}: its three channels are equal, so images are gray; dataset.color=rgb keeps three")
    count, channels = len(images), images.shape[3]
    size = (images.shape[1], images.shape[2])
    invert, polarity = _polarity(cfg, border_brightness(images[spaced(count)]), source)
    preparation = _preparation(cfg, channels, invert=invert, size=None)
    prepared = images
    if preparation.changes(channels, size):
        shape = (count, *(preparation.size or size), preparation.channels)
        prepared = new_images(_within(work, "prepared.npy"), shape)
        with progress("preparing images", count) as advance:
            for start in range(0, count, PREPARED_AT_A_TIME):
                end = min(start + PREPARED_AT_A_TIME, count)
                prepared[start:end] = preparation.apply_all(images[start:end])
                advance(end)
    return Sources(
        hashes=_hash_each(images),
        prepared=prepared,
        images=images if images.nbytes <= DIGESTED_BYTES else None,
        shape=(*size, channels),
        sizes=None,
        channels=channels,
        preparation=preparation,
        is_changed=preparation.changes(channels, size),
        kept=np.arange(count),
        notes=(*notes, *polarity),
    )


def _of_pictures(pictures: Sequence[Picture], raw: Raw, cfg: DataFormat, source: str, work: Path | None) -> Sources:
    if cfg.pixels not in ("auto", "0..255"):
        raise DataError(f"dataset.pixels: expected auto or 0..255 for pictures, which have a scale, got {cfg.pixels}")
    if not pictures:
        raise DataError(f"{source}: expected images, got none")
    headers, broken = _read_headers(pictures, raw.skips_broken)
    good = [i for i, header in enumerate(headers) if header is not None]
    if not good:
        raise DataError(f"{source}: expected images, got none that can be read ({len(broken)} are broken)")
    sizes = {headers[i].size for i in good}  # type: ignore[union-attr]
    may_have_colour = any(not headers[i].is_gray for i in good)  # type: ignore[union-attr]
    bright = _brightness([pictures[i] for i in good]) if cfg.invert == "auto" else 0.0
    invert, notes = _polarity(cfg, bright, source)
    one_size = sizes.copy().pop() if len(sizes) == 1 else None
    size = cfg.image_size
    is_large = one_size is not None and max(one_size) > LARGEST and cfg.image_shape is None
    if size is None and (one_size is None or is_large):
        size = median_size(np.array([headers[i].size for i in good]))  # type: ignore[union-attr]
        what = f"larger than {LARGEST} pixels" if is_large else "of several sizes"
        notes.append(
            f"{source}: its images are {what} and are prepared to {size[0]}x{size[1]};"
            " dataset.image_size=[height,width] sets another"
        )
    preparation = _preparation(cfg, 3 if may_have_colour else 1, invert=invert, size=size)
    prepared_size = preparation.size or one_size
    assert prepared_size is not None
    source_channels = 3 if may_have_colour else 1
    keeps = None
    if one_size is not None and len(good) * one_size[0] * one_size[1] * source_channels <= DIGESTED_BYTES:
        keeps = (*one_size, source_channels)
    shape = (len(good), *prepared_size, preparation.channels)
    prepared = new_images(_within(work, "prepared.npy"), shape)
    images = None
    if keeps is not None:
        images = new_images(_within(work, "sources.npy"), (len(good), *keeps))
    hashes, hashes_rgb, sizes_read, is_gray, kept = [], [], [], [], []
    done, darkest, brightest = 0, 255, 0
    for first, batch in decode_all([pictures[i] for i in good], preparation, prepared_size, keeps):
        broken += [(good[first + position], message) for position, message in batch.broken]
        if batch.broken and not raw.skips_broken:
            raise _broken(broken)
        count, lost = len(batch.sizes), {position for position, _ in batch.broken}
        assert batch.prepared is not None
        prepared[done : done + count] = batch.prepared
        if batch.sources is None:  # EXIF turned one of them
            images = None if count else images
        elif images is not None:
            images[done : done + count] = batch.sources
        darkest, brightest = min(darkest, batch.darkest), max(brightest, batch.brightest)
        hashes.append(batch.hashes)
        hashes_rgb.append(batch.hashes_rgb)
        sizes_read.append(batch.sizes)
        is_gray.append(batch.is_gray)
        kept += [good[first + position] for position in range(count + len(lost)) if position not in lost]
        done += count
    if not done:
        raise DataError(f"{source}: expected images, got none that can be read ({len(broken)} are broken)")
    all_gray = bool(np.concatenate(is_gray).all())
    notes += check_brightness(darkest, brightest, source)
    channels = 1 if all_gray else 3
    prepared, images = prepared[:done], None if images is None else images[:done]
    if all_gray:
        images = None if images is None else images[..., :1]
        of_gray = _preparation(cfg, 1, invert=invert, size=size)
        if of_gray.channels < preparation.channels:  # colour was only possible
            preparation, prepared = of_gray, prepared[..., :1]
    all_sizes = np.concatenate(sizes_read)
    is_one = bool((all_sizes == all_sizes[0]).all())
    height, width = map(int, all_sizes[0])
    _check_shape(pictures, kept, all_sizes, channels, cfg)
    return Sources(
        hashes=np.concatenate(hashes if all_gray else hashes_rgb),
        prepared=prepared,
        images=images if is_one else None,
        shape=(height, width, channels) if is_one else None,
        sizes=None if is_one else all_sizes,
        channels=channels,
        preparation=preparation,
        is_changed=preparation.changes(channels, (height, width) if is_one else None),
        kept=np.array(kept, np.intp),
        notes=(*notes, *_note_on_broken(broken, pictures, source)),
    )


def _within(work: Path | None, name: str) -> Path | None:
    return None if work is None else work / name


def _read_headers(pictures: Sequence[Picture], skips_broken: bool) -> tuple[list[Header | None], list[tuple[int, str]]]:
    headers: list[Header | None] = []
    broken: list[tuple[int, str]] = []
    with progress("looking at pictures", len(pictures)) as advance:
        for i, picture in enumerate(pictures):
            try:
                headers.append(read_header(picture))
            except DataError as error:
                broken.append((i, str(error)))
                headers.append(None)
                if not skips_broken:
                    raise _broken(broken) from error
            if i % 100 == 0:
                advance(i)
    return headers, broken


def _brightness(pictures: Sequence[Picture]) -> float:
    """The mean share of bright border pixels, of some of the pictures; broken ones are reported later."""
    found, left = [], SEEN_PIXELS
    for i in np.random.default_rng(0).permutation(spaced(len(pictures))):
        if left <= 0:
            break
        with contextlib.suppress(DataError):
            image = decode(pictures[i])
            left -= image.size
            found.append(border_brightness(image))
    return float(np.mean(found)) if found else 0.0


def _broken(broken: Sequence[tuple[int, str]]) -> DataError:
    return DataError(f"{broken[0][1]}; dataset.skip_broken=true goes on without such files")


def _note_on_broken(broken: Sequence[tuple[int, str]], pictures: Sequence[Picture], source: str) -> list[str]:
    if not broken:
        return []
    names = ", ".join(printable(pictures[i].name) for i, _ in sorted(broken)[:MOST_NAMED])
    more = f" and {len(broken) - MOST_NAMED} more" if len(broken) > MOST_NAMED else ""
    return [f"{source}: {len(broken)} of {len(pictures)} files are broken and left out: {names}{more}"]


def _polarity(cfg: DataFormat, bright: float, source: str) -> tuple[bool, list[str]]:
    """True if the images must be inverted, by the share of bright border pixels; and a note on what was decided."""
    if cfg.invert != "auto":
        return cfg.invert == "true", []
    if bright >= MOSTLY:
        return True, [
            f"{source}: ink is dark on light ({bright:.0%} of the border is bright), {INVERTED};"
            " dataset.invert=false keeps them"
        ]
    if bright > HALF_BRIGHT:
        return False, [
            f"{source}: {bright:.0%} of the border is bright, {UNCLEAR}; images are not inverted;"
            " dataset.invert=true inverts them"
        ]
    return False, []


def _preparation(cfg: DataFormat, channels: int, *, invert: bool, size: tuple[int, ...] | None) -> Preparation:
    wanted = size or cfg.image_size
    declared = channels if cfg.image_shape is None else cfg.image_shape[2]
    color: Literal["gray", "rgb"] = cfg.color or ("gray" if declared == 1 else "rgb")
    return Preparation(color=color, invert=invert, size=None if wanted is None else (wanted[0], wanted[1]), fit=cfg.fit)


def _check_shape(
    pictures: Sequence[Picture], kept: Sequence[int], sizes: NDArray[np.int64], channels: int, cfg: DataFormat
) -> None:
    if cfg.image_shape is None:
        return
    height, width, declared = cfg.image_shape
    others = np.flatnonzero((sizes != (height, width)).any(axis=1))
    if len(others):
        got = "x".join(map(str, sizes[others[0]]))
        name = printable(pictures[kept[others[0]]].name)
        raise DataError(
            f"{name}: expected an image of {height}x{width} (dataset.image_shape), got {got};"
            f" dataset.image_shape=null dataset.image_size=[{height},{width}] resizes"
        )
    if channels > declared:
        raise DataError(f"dataset.image_shape: expected 3 channels, as images have colour, got {declared}")


def _hash_each(images: Images) -> NDArray[np.uint8]:
    digests = b"".join(hashlib.sha256(np.ascontiguousarray(image).data).digest() for image in images)
    return np.frombuffer(digests, dtype=np.uint8).reshape(len(images), 32)
