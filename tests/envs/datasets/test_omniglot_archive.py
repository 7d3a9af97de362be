"""Omniglot's archives and folders: what is read from them, and how damaged ones are refused."""

import io
import os
import stat
import struct
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from plastic_rl.envs.datasets import omniglot
from plastic_rl.envs.datasets.omniglot_archive import read_omniglot


def drawing(stroke: tuple[int, ...] = (0, 52, 104, 52), mode: str = "1", side: int = 105) -> bytes:
    """A PNG of black ink on white paper, as the official ones: one stroke, from (x, y) to (x, y)."""
    image = Image.new(mode, (side, side), 1 if mode == "1" else "white")
    ImageDraw.Draw(image).line(stroke, fill=0 if mode == "1" else "black", width=3)
    stream = io.BytesIO()
    image.save(stream, "PNG")
    return stream.getvalue()


LINE = drawing()


def half(name: str = "images_background", characters: int = 2, alphabets: int = 1) -> dict[str, bytes]:
    return {
        f"{name}/Alphabet_{a}/character{c:02}/{a:02}{c:02}_{d:02}.png": LINE
        for a in range(alphabets)
        for c in range(1, characters + 1)
        for d in range(1, 21)
    }


def write_zip(path: Path, members: dict[str, bytes]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


def test_ink_is_bright_and_stays_where_it_was_drawn(tmp_path):
    members = half(characters=1)
    for mode, name in zip(("1", "L", "RGB", "P"), members, strict=False):
        members[name] = drawing((10, 0, 10, 104), mode)
    images, alphabets = read_omniglot(write_zip(tmp_path / "images_background.zip", members))
    assert images.shape == (1, 20, 31, 31)
    assert images.dtype == np.uint8
    assert alphabets.tolist() == ["Alphabet_0"]
    for image in images[0, :4]:
        assert image[:, :2].max() == 0, "paper left of the stroke"
        assert image[:, 2:4].max(1).min() > 200, "the stroke, three pixels wide, 9 to 11 of 105"
        assert image[:, 5:].max() == 0
    assert (images[0, 4:, 15] == 255).all(), "a line across the middle"


@pytest.mark.parametrize("inner", ["", "omniglot"])
@pytest.mark.parametrize("form", ["archive", "folder"])
def test_both_halves_are_found(write_folder, tmp_path, inner, form):
    background = half("images_background", 2, 2)
    evaluation = half("images_evaluation", 3, 1)
    if form == "archive":
        write_zip(tmp_path / inner / "images_background.zip", background)
        write_zip(tmp_path / inner / "images_evaluation.zip", evaluation)
    else:
        write_folder(tmp_path / inner, background | evaluation)
    data = omniglot(tmp_path)
    assert data.images.shape == (7, 20, 31, 31)
    assert data.alphabets.tolist() == ["Alphabet_0"] * 2 + ["Alphabet_1"] * 2 + ["Alphabet_0"] * 3
    assert data.background.tolist() == [True] * 4 + [False] * 3
    assert "7 of 1,623 characters of 2 alphabets" in str(data)
    assert all(str(tmp_path / inner) in str(source) for source in data.sources)


@pytest.mark.parametrize("name", ["images_evaluation.zip", "images_evaluation"])
def test_one_half_is_enough_and_said_to_be_one(write_folder, tmp_path, caplog, name):
    write_zip(tmp_path / "images_evaluation.zip", half("images_evaluation"))
    write_folder(tmp_path, half("images_evaluation"))
    data = omniglot(tmp_path / name)
    assert not data.background.any()
    assert data.sources == ((tmp_path / name).resolve(),)
    assert "Omniglot is incomplete: 2 of 1,623 characters" in caplog.text
    assert (omniglot(tmp_path).images == data.images).all()


def test_drawings_are_in_the_order_of_their_names(write_folder, tmp_path):
    members = half(characters=1, alphabets=2)
    for number, name in enumerate(members):
        # One line further down in every drawing, half as long in the second alphabet.
        length, row = 104 if number < 20 else 52, 5 * (number % 20)
        members[name] = drawing((0, row, length, row))
    backwards = dict(reversed(members.items()))
    images, alphabets = read_omniglot(write_zip(tmp_path / "a.zip", backwards))
    assert alphabets.tolist() == ["Alphabet_0", "Alphabet_1"]
    assert images[0].sum() > 1.5 * images[1].sum()
    heights = (images[0].sum(2) * np.arange(31)).sum(1) / images[0].sum((1, 2))
    assert (np.diff(heights) > 0).all()
    write_folder(tmp_path, members)
    assert (read_omniglot(tmp_path / "images_background")[0] == images).all()


def test_what_is_no_drawing_is_passed_over(tmp_path):
    members = half() | {
        "images_background/.DS_Store": b"",
        "readme.txt": b"text",
        "__MACOSX/images_background/Alphabet_0/character01/._0001_01.png": b"shadow",
        "images_background/Alphabet_0/character01/notes.txt": b"text",
    }
    images, _ = read_omniglot(write_zip(tmp_path / "images_background.zip", members))
    assert len(images) == 2


def png_of_size(width: int, height: int) -> bytes:
    """A few bytes that stand for a black image of any size."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    pixels = zlib.compress(bytes(min(height * (width // 8 + 2), 1_000_000)))
    end = chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + end


FIRST = "images_background/Alphabet_0/character01/0001_01.png"
BAD_DRAWINGS = [
    (b"", "is not a PNG image"),
    (b"GIF89a" + bytes(40), "is not a PNG image"),
    (LINE[:60], "is damaged"),
    (LINE[:50] + bytes(8) + LINE[58:], "is damaged"),
    (drawing(side=28), "has 28 x 28 pixels; Omniglot's drawings have 105 x 105"),
    (png_of_size(100_000, 100_000), "has 100000 x 100000 pixels"),
    (bytes(64_001), "has 64,001 bytes; at most 64,000"),
]


@pytest.mark.parametrize(("data", "message"), BAD_DRAWINGS, ids=[message for _, message in BAD_DRAWINGS])
@pytest.mark.parametrize("form", ["archive", "folder"])
def test_bad_drawings_are_named(write_folder, tmp_path, data, message, form):
    members = half() | {FIRST: data}
    if form == "archive":
        write_zip(tmp_path / "images_background.zip", members)
    else:
        write_folder(tmp_path, members)
    with pytest.raises(ValueError, match=message) as caught:
        omniglot(tmp_path)
    assert "Alphabet_0/character01/0001_01.png" in str(caught.value)
    assert str(tmp_path / "images_background") in str(caught.value)
    assert "plastic-rl data fetch omniglot" in str(caught.value)


def without(*names: str) -> dict[str, bytes]:
    return {name: data for name, data in half().items() if name not in names}


BAD_CONTENTS = [
    ({}, "has no drawings named"),
    ({"images_background/0001_01.png": LINE}, "has no drawings named"),
    (without(FIRST), "character Alphabet_0/character01 has 19 drawings instead of 20"),
    (half() | {FIRST.replace("_01", "_21"): LINE}, "Alphabet_0/character01 has more than 20 drawings"),
    (half() | {f"copy/{FIRST}": LINE}, "copy/.*0001_01.png is there twice"),
    (half() | {"../evil.png": LINE}, "member '../evil.png' would lie outside"),
    (half() | {"images_background/../../../evil": b""}, "would lie outside"),
    (half() | {"/etc/evil.png": LINE}, "member '/etc/evil.png' would lie outside"),
    (half() | {"C:/evil.png": LINE}, "member 'C:/evil.png' would lie outside"),
    (half() | {"..\\evil.png": LINE}, "would lie outside"),
]


@pytest.mark.parametrize(("members", "message"), BAD_CONTENTS, ids=[message for _, message in BAD_CONTENTS])
def test_bad_contents_are_named(tmp_path, members, message):
    path = write_zip(tmp_path / "images_background.zip", members)
    with pytest.raises(ValueError, match=message):
        omniglot(path)
    assert {entry.name for entry in tmp_path.iterdir()} == {"images_background.zip"}, "nothing is unpacked"


def test_more_characters_than_omniglot_has(tmp_path, monkeypatch):
    monkeypatch.setattr("plastic_rl.envs.datasets.omniglot_archive.CHARACTERS", {"images_background": 1})
    with pytest.raises(ValueError, match="more than the 1 characters"):
        read_omniglot(write_zip(tmp_path / "images_background.zip", half()))


def special_zip(path: Path, kind: str) -> Path:
    write_zip(path, without(FIRST))
    with zipfile.ZipFile(path, "a") as archive:
        member = zipfile.ZipInfo(FIRST)
        if kind == "link":
            member.external_attr = (stat.S_IFLNK | 0o777) << 16
            archive.writestr(member, "/etc/passwd")
        elif kind == "device":
            member.external_attr = (stat.S_IFCHR | 0o666) << 16
            archive.writestr(member, "")
        else:
            archive.writestr(member, LINE, zipfile.ZIP_LZMA)
    return path


@pytest.mark.parametrize(
    ("kind", "message"),
    [("link", "a link or device"), ("device", "a link or device"), ("lzma", "compressed in an unusual way")],
)
def test_special_members_are_refused(tmp_path, kind, message):
    with pytest.raises(ValueError, match=f"0001_01.png' is {message}"):
        read_omniglot(special_zip(tmp_path / "images_background.zip", kind))


def test_an_archive_bomb_is_refused_before_it_is_read(tmp_path):
    path = write_zip(tmp_path / "images_background.zip", half() | {FIRST: bytes(50_000_000)})
    assert path.stat().st_size < 200_000
    with pytest.raises(ValueError, match="has 50,000,000 bytes; at most"):
        read_omniglot(path)
    # One that lies about its size: the announced size is in the local header and in the directory.
    lying = path.read_bytes().replace(struct.pack("<I", 50_000_000), struct.pack("<I", 200))
    path.write_bytes(lying)
    with pytest.raises(ValueError, match="truncated or damaged: Bad CRC-32"):
        read_omniglot(path)


def test_many_members_cannot_add_up(tmp_path):
    members = {f"images_background/A/c{i:04}/{j:02}.png": bytes(60_000) for i in range(40) for j in range(20)}
    with pytest.raises(ValueError, match="its content has 48,000,000 bytes; at most"):
        read_omniglot(write_zip(tmp_path / "images_background.zip", members))


@pytest.mark.parametrize("damage", ["truncated", "no archive", "empty", "flipped", "encrypted"])
def test_damaged_archives_are_named(tmp_path, damage):
    path = write_zip(tmp_path / "images_background.zip", half())
    whole = path.read_bytes()
    at = whole.index(b"0001_05.png") + 30
    # Bit 0 of a member's flags says that it is encrypted.
    encrypted = whole.replace(b"PK\x01\x02\x14\x03\x14\x00\x00", b"PK\x01\x02\x14\x03\x14\x00\x01")
    assert encrypted != whole
    contents = {
        "truncated": whole[: len(whole) // 2],
        "no archive": b"<html>not found</html>",
        "empty": b"",
        "flipped": whole[:at] + bytes([whole[at] ^ 255]) + whole[at + 1 :],
        "encrypted": encrypted,
    }
    path.write_bytes(contents[damage])
    with pytest.raises(ValueError, match=r"images_background.zip.*(truncated|damaged).*data fetch omniglot"):
        omniglot(tmp_path)


def test_links_in_a_folder_do_not_lead_in_circles(write_folder, tmp_path):
    write_folder(tmp_path, half())
    os.symlink(tmp_path / "images_background", tmp_path / "images_background" / "Alphabet_0" / "again")
    assert len(read_omniglot(tmp_path / "images_background")[0]) == 2


@pytest.mark.skipif(not os.environ.get("PLASTIC_RL_DATA"), reason="PLASTIC_RL_DATA is not set")
def test_the_real_omniglot(monkeypatch):
    monkeypatch.undo()
    data = omniglot()
    assert data.images.shape == (1623, 20, 31, 31)
    assert data.background.sum() == 964
    assert len(np.unique(data.alphabets[data.background])) == 30
    assert len(np.unique(data.alphabets[~data.background])) == 20
    peaks = data.images.max((2, 3))
    assert (peaks >= 200).all(), "even the faintest drawing has bright ink"
    assert 0.03 < (data.images > 128).mean() < 0.15, "and most of it is paper"
