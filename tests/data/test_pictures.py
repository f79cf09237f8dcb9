"""Pictures: every mode and format gives the pixels that a person sees, and damage gives one line."""

import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from damage import COUNT, cut, flipped, memory
from PIL import Image

from hcr.config.errors import DataError
from hcr.data.batches import decode_all
from hcr.data.pictures import MOST_PIXELS, Header, decode, decode_batch, read_header
from hcr.data.preparation import Preparation
from hcr.data.raw import Picture

GRAY = np.random.default_rng(0).integers(0, 256, (6, 9), np.uint8)
COLOUR = np.random.default_rng(1).integers(0, 256, (6, 9, 3), np.uint8)
SMOOTH = np.linspace(20, 230, 32 * 48).reshape(32, 48).astype(np.uint8)  # for lossy formats
KEPT = Preparation(color="gray", invert=False, size=None, fit="pad")


def saved(image: Image.Image, kind: str = "PNG", **options: object) -> Picture:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return Picture(file.getvalue(), f"a.{kind.lower()}")


def refusal(picture: Picture) -> str:
    with pytest.raises(DataError) as refused:
        decode(picture)
    assert "\n" not in str(refused.value)
    assert str(refused.value).startswith(picture.name)
    return str(refused.value)


def outcome(picture: Picture) -> Header | np.ndarray | str:
    """What is read, or the message; any error but DataError is raised."""
    try:
        read_header(picture)
        return decode(picture)
    except DataError as error:
        assert "\n" not in str(error)
        return str(error)


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "BMP", "PPM", "GIF"])
def test_gray_pictures_are_read_pixel_for_pixel(kind: str) -> None:
    picture = saved(Image.fromarray(GRAY), kind)
    assert (decode(picture)[..., 0] == GRAY).all()
    assert read_header(picture).size == (6, 9)


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "BMP", "PPM"])
def test_colour_pictures_are_read_pixel_for_pixel(kind: str) -> None:
    picture = saved(Image.fromarray(COLOUR), kind)
    assert (decode(picture) == COLOUR).all()
    assert read_header(picture) == Header((6, 9), is_gray=False)


@pytest.mark.parametrize("options", [{"lossless": True}, {"lossless": True, "quality": 100}])
def test_webp_is_read(options: dict[str, object]) -> None:
    assert (decode(saved(Image.fromarray(COLOUR), "WEBP", **options)) == COLOUR).all()


@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
def test_jpeg_is_read(mode: str) -> None:
    pixels = decode(saved(Image.fromarray(SMOOTH).convert(mode), "JPEG", quality=98))
    assert np.abs(pixels.mean(axis=2) - SMOOTH).max() < 12


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "BMP", "GIF"])
def test_a_picture_of_one_bit_is_0_and_255(kind: str) -> None:
    ink = GRAY > 127
    assert (decode(saved(Image.fromarray(ink), kind))[..., 0] == np.where(ink, 255, 0)).all()


def test_a_picture_in_colour_whose_channels_are_equal_is_gray() -> None:
    gray = decode(saved(Image.fromarray(GRAY)))
    assert (decode(saved(Image.fromarray(GRAY).convert("RGB"))) == gray).all()
    assert (decode(saved(Image.fromarray(GRAY).convert("P"))) == gray).all()
    assert (decode(saved(Image.fromarray(GRAY).convert("RGBA"))) == gray).all()
    assert (decode(saved(Image.fromarray(GRAY).convert("LA"))) == gray).all()


def palette(colours: list[int], **options: object) -> Picture:
    image = Image.fromarray(np.array([[0, 1, 2], [2, 1, 0]], np.uint8)).convert("P")
    image.putdata([0, 1, 2, 2, 1, 0])
    image.putpalette(colours)
    return saved(image, **options)


def test_a_palette_gives_its_colours_and_not_its_numbers() -> None:
    assert decode(palette([0, 0, 0, 128, 128, 128, 255, 255, 255]))[..., 0].tolist() == [[0, 128, 255], [255, 128, 0]]
    assert decode(palette([255, 0, 0, 0, 255, 0, 0, 0, 255]))[0].tolist() == [[255, 0, 0], [0, 255, 0], [0, 0, 255]]


def test_a_palette_with_a_transparent_colour_is_put_on_its_ground() -> None:
    picture = palette([9, 9, 9, 0, 0, 0, 40, 40, 40], transparency=0)
    assert decode(picture)[..., 0].tolist() == [[255, 0, 40], [40, 0, 255]]


def test_a_palette_with_an_opacity_for_each_colour_is_read() -> None:
    pixels = decode(palette([0, 0, 0, 200, 200, 200, 40, 40, 40], transparency=bytes([0, 255, 255])))
    assert pixels[..., 0].tolist() == [[255, 200, 40], [40, 200, 255]]


@pytest.mark.parametrize(("ink", "ground"), [(0, 255), (30, 255), (255, 0), (220, 0)])
@pytest.mark.parametrize("mode", ["RGBA", "LA"])
@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP"])
def test_transparent_ink_is_put_on_the_opposite_ground(ink: int, ground: int, mode: str, kind: str) -> None:
    alpha = np.where(GRAY > 180, 255, 0).astype(np.uint8)
    layers = [np.full_like(GRAY, ink)] * (len(mode) - 1) + [alpha]
    options = {"lossless": True, "exact": True} if kind == "WEBP" else {}
    pixels = decode(saved(Image.fromarray(np.stack(layers, axis=2), mode), kind, **options))
    assert (pixels[..., 0] == np.where(alpha == 255, ink, ground)).all()


def test_half_transparent_ink_is_blended() -> None:
    rgba = np.zeros((1, 3, 4), np.uint8)
    rgba[0, :, 3] = 0, 128, 255
    assert decode(saved(Image.fromarray(rgba, "RGBA")))[0, :, 0].tolist() == [255, 127, 0]


def test_a_picture_that_is_transparent_everywhere_is_blank() -> None:
    assert (decode(saved(Image.new("RGBA", (4, 3), (7, 8, 9, 0)))) == 255).all()


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_16_bits_become_8_by_their_scale(kind: str) -> None:
    wide = np.array([[0, 128, 129, 257, 32767, 65278, 65535]], np.uint16)
    pixels = decode(saved(Image.fromarray(wide), kind))
    assert pixels[0, :, 0].tolist() == [0, 0, 1, 1, 127, 254, 255]
    assert (decode(saved(Image.fromarray(GRAY.astype(np.uint16) * 257), kind))[..., 0] == GRAY).all()


def test_16_bits_are_read_in_either_byte_order() -> None:
    wide = GRAY.astype(np.uint16) * 257
    little = Image.frombytes("I;16", (9, 6), wide.astype("<u2").tobytes())
    big = Image.frombytes("I;16B", (9, 6), wide.astype(">u2").tobytes())
    for image in (little, big):
        assert (decode(saved(image, "TIFF"))[..., 0] == GRAY).all()


def test_pixels_that_are_on_no_scale_are_refused() -> None:
    assert "expected pixels of 8 or 16 bits, got floats" in refusal(saved(Image.new("F", (3, 3), 0.5), "TIFF"))
    told = refusal(saved(Image.fromarray(np.array([[0, 70_000]], np.int32)), "TIFF"))
    assert "expected pixels of 8 or 16 bits, got 0 to 70000" in told


TURNS: dict[int, Callable[[np.ndarray], np.ndarray]] = {  # what a viewer does with a picture of this orientation
    1: lambda image: image,
    2: np.fliplr,
    3: lambda image: np.rot90(image, 2),
    4: np.flipud,
    5: lambda image: image.T,
    6: lambda image: np.rot90(image, -1),
    7: lambda image: np.rot90(image.T, 2),
    8: np.rot90,
}


@pytest.mark.parametrize("kind", ["JPEG", "TIFF", "WEBP", "PNG"])
@pytest.mark.parametrize("orientation", list(TURNS))
def test_pictures_are_turned_upright_by_their_exif_rotation(kind: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"JPEG": {"quality": 98}, "WEBP": {"lossless": True}}.get(kind, {})
    picture = saved(Image.fromarray(SMOOTH), kind, exif=exif.tobytes() if kind != "TIFF" else exif, **options)
    wanted = TURNS[orientation](SMOOTH)
    pixels = decode(picture).mean(axis=2)
    assert pixels.shape == wanted.shape
    assert np.abs(pixels - wanted).max() < 12
    if kind != "PNG":
        assert read_header(picture).size == wanted.shape


@pytest.mark.parametrize("kind", ["GIF", "TIFF", "WEBP", "PNG"])
def test_a_file_of_several_pictures_is_refused(kind: str) -> None:
    frames = [Image.fromarray(GRAY), Image.fromarray(255 - GRAY), Image.fromarray(GRAY)]
    told = refusal(saved(frames[0], kind, save_all=True, append_images=frames[1:]))
    assert "expected one image, got 3 frames or pages" in told


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(width: int, height: int, data: bytes) -> Picture:
    """A PNG of one gray byte a pixel that declares any size."""
    start = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    return Picture(b"\x89PNG\r\n\x1a\n" + start + chunk(b"IDAT", data) + chunk(b"IEND", b""), "bomb.png")


@pytest.mark.parametrize("side", [9_000, 20_000, 60_000, 2**31 - 1])
def test_a_picture_that_declares_too_many_pixels_is_refused_before_they_take_memory(side: int) -> None:
    bomb = png(side, side, zlib.compress(bytes(1_000)))
    with memory(5_000_000):
        told = outcome(bomb)
    assert isinstance(told, str)
    assert f"at most {MOST_PIXELS:,} pixels" in told or "expected a picture" in told
    assert len(told) < 250


@pytest.mark.parametrize("kind", ["BMP", "TIFF", "GIF", "PPM", "WEBP"])
def test_every_format_may_declare_more_than_it_has(kind: str) -> None:
    whole = saved(Image.fromarray(GRAY), kind).content
    assert isinstance(whole, bytes)
    for number in (9, 6):  # width and height, wherever they stand
        for kind_of_number in ("<H", "<I", ">I"):
            small, large = struct.pack(kind_of_number, number), struct.pack(kind_of_number, 60_000)
            with memory(300_000_000):
                outcome(Picture(whole.replace(small, large), f"bomb.{kind}"))


def test_data_packed_a_thousand_times_is_not_unpacked_beyond_the_picture() -> None:
    bomb = png(28, 28, zlib.compress(bytes(50_000_000), 9))
    with memory(5_000_000):
        outcome(bomb)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "a.png: expected a picture (PNG, JPEG, TIFF, BMP or WebP), got an empty file"),
        (b"this is a text\n" * 9, "a.png: expected a picture (PNG, JPEG, TIFF, BMP or WebP), got a text file"),
        (b"\x89PNG\r\n\x1a\n", "a.png: expected a picture (PNG, JPEG, TIFF, BMP or WebP), got one that is damaged"),
        (b"%PDF-1.7 ...", "a.png: expected a picture (PNG, JPEG, TIFF, BMP or WebP)"),
    ],
    ids=["empty", "text", "png", "pdf"],
)
@pytest.mark.parametrize("is_file", [True, False])
def test_what_is_no_picture_is_named(content: bytes, message: str, is_file: bool, tmp_path: Path) -> None:
    file = tmp_path / "a.png"
    file.write_bytes(content)
    assert refusal(Picture(file if is_file else content, "a.png")) == message


def test_a_missing_or_unreadable_file_is_named_with_the_reason(tmp_path: Path) -> None:
    assert refusal(Picture(tmp_path / "a.png", "a.png")).endswith("(No such file or directory)")
    assert refusal(Picture(tmp_path, "a.png")).endswith("(Is a directory)")


def test_a_name_with_a_newline_is_shown_on_one_line(tmp_path: Path) -> None:
    file = tmp_path / "a\nb.png"
    file.write_bytes(b"no")
    with pytest.raises(DataError) as refused:
        decode(Picture(file, str(file)))
    assert "\n" not in str(refused.value)


def test_eps_and_other_formats_that_run_programs_are_not_opened(tmp_path: Path) -> None:
    file = io.BytesIO()
    Image.fromarray(COLOUR).save(file, "EPS")
    assert "expected a picture" in refusal(Picture(file.getvalue(), "a.eps"))


KINDS = {
    "PNG": {},
    "JPEG": {"quality": 90},
    "TIFF": {},
    "TIFF-lzw": {"compression": "tiff_lzw"},
    "BMP": {},
    "WEBP": {"lossless": True},
    "GIF": {},
    "PPM": {},
}
TIMES = {"BMP": 60}  # Pillow reads its palette slowly


def written(folder: Path, kind: str) -> Path:
    file = folder / "a.picture"
    picture = saved(Image.fromarray(SMOOTH), kind.partition("-")[0], **KINDS[kind])
    assert isinstance(picture.content, bytes)
    file.write_bytes(picture.content)
    return file


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("kind", list(KINDS))
def test_a_file_that_is_cut_short_is_refused_or_whole(kind: str, tmp_path: Path) -> None:
    file = written(tmp_path, kind)
    whole = decode(Picture(file, "a.picture"))
    refused = 0
    with memory(20_000_000):
        for what in cut(file, TIMES.get(kind, COUNT)):
            found = outcome(Picture(file, "a.picture"))
            if isinstance(found, str):
                refused += 1
            else:
                assert (found == whole).all(), what  # only what follows the pixels is missing
    assert refused > 0.85 * min(TIMES.get(kind, COUNT), file.stat().st_size)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("kind", list(KINDS))
def test_a_flipped_bit_is_a_picture_or_one_line(kind: str, tmp_path: Path) -> None:
    file = written(tmp_path, kind)
    with memory(400_000_000):
        for what in flipped(file, TIMES.get(kind, COUNT)):
            found = outcome(Picture(file, "a.picture"))
            assert isinstance(found, str) or (found.dtype == np.uint8 and found.shape[2] in (1, 3)), what


def test_a_batch_has_no_row_for_a_broken_picture() -> None:
    pictures = [saved(Image.fromarray(GRAY)), Picture(b"no", "b.png"), saved(Image.fromarray(255 - GRAY))]
    batch = decode_batch(pictures, KEPT, (6, 9), (6, 9, 1))
    assert batch.prepared is not None
    assert batch.sources is not None
    assert (batch.prepared == np.stack([GRAY, 255 - GRAY])[..., np.newaxis]).all()
    assert (batch.sources == batch.prepared).all()
    assert [position for position, _ in batch.broken] == [1]
    assert (len(batch.hashes), len(batch.sizes), len(batch.is_gray)) == (2, 2, 2)
    nothing = decode_batch(pictures[1:2], KEPT, (6, 9), (6, 9, 1))
    assert nothing.prepared is not None
    assert nothing.prepared.shape == (0, 6, 9, 1)


@pytest.mark.parametrize("few", [0, 10**6])
def test_many_pictures_are_decoded_in_order_by_one_process_or_several(
    few: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hcr.data.batches.FEW", few)
    monkeypatch.setattr("hcr.data.batches.BATCH", 7)
    monkeypatch.setattr("hcr.data.batches.available_cores", lambda: 2)
    pictures = [saved(Image.new("L", (3, 2), number)) for number in range(100)]
    found = []
    for first, batch in decode_all(pictures, KEPT, (2, 3), None):
        assert first == len(found)
        assert batch.prepared is not None
        found += batch.prepared[:, 0, 0, 0].tolist()
    assert found == list(range(100))
