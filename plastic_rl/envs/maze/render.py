"""Pictures and text of a maze episode."""

from functools import lru_cache
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from plastic_rl.envs.state import Stateful

Square = tuple[int, int]

PIXELS = 32
"""Side of a square; the line of text under the maze is as high."""

# Okabe and Ito's palette, which stays distinct for colour-blind eyes, on greys.
_WALL = (58, 62, 70)
_FLOOR = (247, 246, 242)
_GRID = (229, 227, 220)
_GOAL = (230, 159, 0)
_AGENT = (0, 114, 178)
_OLD_PATH, _NEW_PATH = np.array((200, 226, 243)), np.array((86, 180, 233))
_BUMP = (213, 94, 0)
_TEXT = (255, 255, 255)


class Trail(Stateful):
    """What a picture needs to know of the episode so far.

    Attributes:
        path: the squares since the start or the last teleport, as (row, column), the present one last.
        steps, hits: counts of this episode.
        reward: the last step's; `total`: the sum over the episode.
    """

    state_attributes = ("path", "steps", "hits", "reward", "total")

    def __init__(self) -> None:
        self.start((0, 0))

    def start(self, square: Square) -> None:
        """Begin an episode."""
        self.path = [square]
        self.steps = self.hits = 0
        self.reward = self.total = 0.0

    def record(self, square: Square, reward: float, hit: bool) -> None:
        """Add a step that ended on `square`, after a teleport if it was a hit."""
        self.steps += 1
        self.hits += hit
        self.reward = reward
        self.total += reward
        if hit:
            self.path = [square]
        else:
            self.path.append(square)


def render_trail(
    render_mode: str | None, walls: NDArray[np.bool_], goal: Square, trail: Trail
) -> NDArray[np.uint8] | str:
    """An (H, W, 3) uint8 picture for "rgb_array", otherwise text."""
    return draw(walls, goal, trail) if render_mode == "rgb_array" else write(walls, goal, trail)


def write(walls: NDArray[np.bool_], goal: Square, trail: Trail) -> str:
    """The maze as text: `#` wall, `.` free, `G` goal, `A` agent, and a line of counts under it."""
    rows = [["#" if wall else "." for wall in row] for row in walls]
    rows[goal[0]][goal[1]] = "G"
    row, column = trail.path[-1]
    rows[row][column] = "A"
    counts = f"step {trail.steps}, hits {trail.hits}, last reward {trail.reward:g}, return {trail.total:.1f}"
    return "\n".join([" ".join(row) for row in rows] + [counts])


def draw(walls: NDArray[np.bool_], goal: Square, trail: Trail) -> NDArray[np.uint8]:
    """The maze as a picture: goal an orange target, agent blue, its path since the last teleport light blue.

    A red ring around the agent: it has just walked into a wall. A tinted square behind the goal: it has just
    been reached.

    Returns:
        (32 (rows + 1), 32 columns, 3) uint8.
    """
    image = _background(walls.shape, walls.tobytes()).copy()
    canvas = ImageDraw.Draw(image)
    if trail.reward > 0:
        canvas.rectangle(_box(goal, 0.5), fill=(252, 229, 175))
    _disc(image, goal, 0.36, _GOAL)
    _disc(image, goal, 0.24, _FLOOR)
    _disc(image, goal, 0.13, _GOAL)

    centres = [_centre(square) for square in trail.path]
    for age, (one, two) in enumerate(pairwise(centres)):
        shade = _OLD_PATH + (_NEW_PATH - _OLD_PATH) * max(0, age + 20 - len(centres)) / 20
        canvas.line([one, two], fill=tuple(int(part) for part in shade), width=6)
    _disc(image, trail.path[0], 0.14, tuple(int(part) for part in _NEW_PATH))

    if trail.reward < 0:
        _disc(image, trail.path[-1], 0.44, _BUMP)
    _disc(image, trail.path[-1], 0.34, _AGENT)

    text = f"step {trail.steps}   hits {trail.hits}   return {trail.total:.1f}"
    middle = (image.width / 2, image.height - PIXELS)
    canvas.text(middle, text, fill=_TEXT, font=_font(), anchor="mm")
    return np.array(image)


def _centre(square: Square) -> tuple[float, float]:
    """The middle of a square in pixels, x before y."""
    return (square[1] + 0.5) * PIXELS, (square[0] + 0.5) * PIXELS


def _box(square: Square, radius: float) -> tuple[float, float, float, float]:
    x, y = _centre(square)
    return x - radius * PIXELS, y - radius * PIXELS, x + radius * PIXELS - 1, y + radius * PIXELS - 1


def _disc(image: Image.Image, square: Square, radius: float, colour: tuple[int, ...]) -> None:
    stencil = _stencil(radius)
    image.paste(colour, (square[1] * PIXELS, square[0] * PIXELS), stencil)


@lru_cache
def _stencil(radius: float) -> Image.Image:
    """A disc with smooth edges: drawn eight times too large, then shrunk."""
    large = Image.new("L", (8 * PIXELS, 8 * PIXELS))
    edge = (0.5 - radius) * 8 * PIXELS
    ImageDraw.Draw(large).ellipse((edge, edge, 8 * PIXELS - edge, 8 * PIXELS - edge), fill=255)
    return large.resize((PIXELS, PIXELS), Image.Resampling.LANCZOS)


@lru_cache
def _font() -> ImageFont.ImageFont | ImageFont.FreeTypeFont:
    return ImageFont.load_default(16)


@lru_cache(maxsize=4)
def _background(shape: tuple[int, int], walls: bytes) -> Image.Image:
    image = Image.new("RGB", (shape[1] * PIXELS, (shape[0] + 1) * PIXELS), _WALL)
    canvas = ImageDraw.Draw(image)
    for row, column in np.argwhere(~np.frombuffer(walls, dtype=bool).reshape(shape)):
        canvas.rectangle(_box((row, column), 0.5), fill=_FLOOR, outline=_GRID)
    return image
