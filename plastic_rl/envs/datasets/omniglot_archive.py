"""Omniglot's drawings, from the official archives or what was unpacked from them."""

import io
import struct
import zlib
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from plastic_rl.envs.datasets.members import BadDataError, read_members

CHARACTERS = {"images_background": 964, "images_evaluation": 659}
"""The two official archives, without `.zip`, and how many characters each holds."""

DRAWINGS = 20
"""Drawings of each character, by as many people."""

SIZE = 31
"""Pixels per side after resizing."""

_PAPER_SIZE = (105, 105)
# A stroke is about 2.5 pixels wide on paper, less than one pixel here: averaging alone leaves it grey.
_GAIN = 1.5
# The official drawings have at most 500 bytes; 105 x 105 pixels in four colours, not compressed, have 44,100.
_DRAWING_BYTES = 64_000


def read_omniglot(path: Path) -> tuple[NDArray[np.uint8], NDArray[np.str_]]:
    """Read one of the two halves of Omniglot.

    Args:
        path: `images_background` or `images_evaluation`: a folder or, with `.zip`, an archive. What counts
            is the end of each file's path: `<alphabet>/<character>/<drawing>.png`.

    Returns:
        The drawings, (n_characters, 20, 31, 31) uint8, ink 255 and paper 0, and each character's alphabet,
        (n_characters,). Both are sorted by alphabet, character and drawing.

    Raises:
        BadDataError: if anything in it is damaged, has another form, or a character has not 20 drawings.
    """
    most = CHARACTERS.get(path.name.removesuffix(".zip"), sum(CHARACTERS.values()))
    characters: dict[tuple[str, str], dict[str, NDArray[np.uint8]]] = {}
    for name, data in read_members(path, _allowed_size, total=most * DRAWINGS * 2_000):
        alphabet, character, drawing = name.parts[-3:]
        drawings = characters.setdefault((alphabet, character), {})
        if drawing in drawings:
            raise BadDataError(f"{path}: {name} is there twice")
        drawings[drawing] = _read_drawing(f"{path}: {name}", data)
        if len(drawings) > DRAWINGS:
            raise BadDataError(f"{path}: character {alphabet}/{character} has more than {DRAWINGS} drawings")
        if len(characters) > most:
            raise BadDataError(f"{path} has more than the {most} characters of Omniglot")
    if not characters:
        raise BadDataError(f"{path} has no drawings named <alphabet>/<character>/<drawing>.png")
    for (alphabet, character), drawings in characters.items():
        if len(drawings) < DRAWINGS:
            count = f"{len(drawings)} drawings instead of {DRAWINGS}"
            raise BadDataError(f"{path}: character {alphabet}/{character} has {count}")
    images = [[image for _, image in sorted(characters[key].items())] for key in sorted(characters)]
    return np.array(images), np.array([alphabet for alphabet, _ in sorted(characters)])


def _allowed_size(name: PurePosixPath) -> int:
    # Archives made on a Mac carry a shadow of every file, whose name starts with a dot.
    is_drawing = name.suffix == ".png" and len(name.parts) >= 3 and not name.name.startswith(".")
    return _DRAWING_BYTES if is_drawing else 0


def _read_drawing(name: str, data: bytes) -> NDArray[np.uint8]:
    """A drawing, (31, 31), ink bright."""
    if len(data) < 24 or data[:8] != b"\x89PNG\r\n\x1a\n" or data[12:16] != b"IHDR":
        raise BadDataError(f"{name} is not a PNG image")
    # Looked up before decoding: a few bytes can stand for an image of any size.
    size = struct.unpack(">II", data[16:24])
    if size != _PAPER_SIZE:
        raise BadDataError(f"{name} has {size[0]} x {size[1]} pixels; Omniglot's drawings have 105 x 105")
    try:
        with Image.open(io.BytesIO(data), formats=("PNG",)) as image:
            small = image.convert("L").resize((SIZE, SIZE), Image.Resampling.BICUBIC)
    except (OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error) as error:
        raise BadDataError(f"{name} is damaged: {error}") from error
    ink = 255 - np.asarray(small)
    return np.minimum(ink * np.float32(_GAIN), 255).astype(np.uint8)
