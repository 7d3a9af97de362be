"""Pictures and text of a lifetime of target discovery."""

import math

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from plastic_rl.envs.discovery.rules import Discovery, Lifetimes
from plastic_rl.envs.drawing import CARD, cue_picture, font
from plastic_rl.envs.state import Stateful

# Okabe and Ito's palette, which stays distinct for colour-blind eyes, on greys.
_GROUND, _LINE = (58, 62, 70), (200, 198, 190)
_INK, _PAPER, _TEXT = (40, 42, 48), (255, 255, 255), (255, 255, 255)
_NOW, _TARGET, _RIGHT, _WRONG = (86, 180, 233), (230, 159, 0), (0, 158, 115), (213, 94, 0)

_PATTERN, _CARD_SIDE, _GAP, _HEADER, _MARK = 60, 84, 10, 56, 18


class Trail(Stateful):
    """One lifetime and what was answered in it so far.

    Attributes:
        rules: of the environment.
        steps: that were taken.
        given: the answers given at go signals, each with whether it was right.
    """

    state_attributes = ("cues", "target", "shown", "answers", "steps", "given")

    def __init__(self, rules: Discovery):
        self.rules = rules

    def start(self, lifetimes: Lifetimes, row: int) -> None:
        """Begin the lifetime with this number; its arrays must not change any more."""
        self.cues, self.target = lifetimes.cues[row], int(lifetimes.targets[row])
        self.shown, self.answers = lifetimes.shown[row], lifetimes.answers[row]
        self.steps = 0
        self.given: list[tuple[int, bool]] = []

    def record(self, action: int) -> None:
        """Add a step with this action."""
        answer = int(self.answers[self.steps])
        if answer >= 0:
            self.given.append((action, action == answer))
        self.steps += 1

    def seen(self) -> int | None:
        """The cue that is shown now, or None."""
        if self.steps == self.rules.length:
            return None
        trial, step = divmod(self.steps, self.rules.trial_length)
        which, blank = divmod(step, 1 + self.rules.options.blank_steps)
        return int(self.shown[trial, which]) if which < 2 and not blank else None

    def in_trial(self) -> list[int]:
        """The cues shown in the present trial up to now."""
        if self.steps == self.rules.length:
            return []
        trial, step = divmod(self.steps, self.rules.trial_length)
        return self.shown[trial, : 1 + step // (1 + self.rules.options.blank_steps)][:2].tolist()

    def is_asked(self) -> bool:
        """Whether an answer is wanted now."""
        return bool(self.answers[self.steps] >= 0)

    def score(self) -> str:
        """Counts of this lifetime, in words."""
        right = sum(right for _, right in self.given)
        return f"step {self.steps} of {self.rules.length}, {right} of {len(self.given)} right"


def render_trail(render_mode: str | None, trail: Trail) -> NDArray[np.uint8] | str:
    """An (H, W, 3) uint8 picture for "rgb_array", otherwise text."""
    return draw(trail) if render_mode == "rgb_array" else write(trail)


def write(trail: Trail) -> str:
    """A line for each cue, then the answers so far, and what is seen now.

    `*` marks the target, `>` the cue that is shown now, `+` those of the present trial before it. An answer
    is `y` or `n`, and `+` if it was right, `-` if it was wrong.
    """
    seen, before = trail.seen(), trail.in_trial()
    lines = []
    for cue, signs in enumerate(trail.cues):
        mark = ">" if cue == seen else "+" if cue in before else " "
        lines.append(
            f"{mark}{'*' if cue == trail.target else ' '} {''.join('-.+'[int(sign) + 1] for sign in signs)}"
        )
    answers = " ".join(f"{'ny'[action]}{'+' if right else '-'}" for action, right in trail.given)
    now = f"cue {seen}" if seen is not None else "go: an answer is wanted" if trail.is_asked() else "nothing"
    return "\n".join([*lines, f"answers: {answers}", f"now: {now}", trail.score()])


def draw(trail: Trail) -> NDArray[np.uint8]:
    """A card for each cue, and under them a mark for each trial.

    The target has an orange frame. The cue that is shown now has a thick blue one, another one of the
    present trial a thin one. Marks: grey before the trial, then green with "y" or "n" for the answer if that
    was right, red if it was wrong.

    Returns:
        (H, W, 3) uint8; the size depends on the arguments of the environment only.
    """
    options = trail.rules.options
    columns = min(options.n_cues, 8)
    width = max(columns * (_CARD_SIDE + _GAP) + _GAP, 20 * _MARK + 2 * _GAP)
    per_row = (width - 2 * _GAP) // _MARK
    rows = math.ceil(options.n_cues / columns)
    marks = _HEADER + rows * (_CARD_SIDE + _GAP) + _GAP
    height = marks + math.ceil(options.n_trials / per_row) * (_MARK + 4) + _GAP
    image = Image.new("RGB", (width, height), _GROUND)
    canvas = ImageDraw.Draw(image)
    _draw_header(canvas, trail, width)
    for cue in range(options.n_cues):
        row, column = divmod(cue, columns)
        _draw_card(
            image,
            canvas,
            trail,
            cue,
            _GAP + column * (_CARD_SIDE + _GAP),
            _HEADER + row * (_CARD_SIDE + _GAP),
        )
    for trial in range(options.n_trials):
        row, column = divmod(trial, per_row)
        left, top = _GAP + column * _MARK, marks + row * (_MARK + 4)
        done = trial < len(trail.given)
        colour = _LINE if not done else _RIGHT if trail.given[trial][1] else _WRONG
        canvas.rectangle((left, top, left + _MARK - 4, top + _MARK - 1), fill=colour)
        if done:
            middle = (left + _MARK // 2 - 2, top + _MARK // 2 - 1)
            canvas.text(middle, "ny"[trail.given[trial][0]], fill=_PAPER, font=font(14), anchor="mm")
    return np.array(image)


def _draw_header(canvas: ImageDraw.ImageDraw, trail: Trail, width: int) -> None:
    canvas.text((_GAP, _HEADER // 2), trail.score(), fill=_TEXT, font=font(16), anchor="lm")
    if trail.is_asked():
        middle = (width - 40, _HEADER // 2)
        canvas.ellipse((middle[0] - 22, middle[1] - 20, middle[0] + 22, middle[1] + 20), fill=_RIGHT)
        canvas.text(middle, "go", fill=_PAPER, font=font(18), anchor="mm")


def _draw_card(
    image: Image.Image, canvas: ImageDraw.ImageDraw, trail: Trail, cue: int, left: int, top: int
) -> None:
    frame = (left, top, left + _CARD_SIDE - 1, top + _CARD_SIDE - 1)
    canvas.rectangle(frame, fill=CARD, outline=_TARGET if cue == trail.target else CARD, width=4)
    if cue == trail.seen() or cue in trail.in_trial():
        inner = (left + 5, top + 5, left + _CARD_SIDE - 6, top + _CARD_SIDE - 6)
        canvas.rectangle(inner, outline=_NOW, width=5 if cue == trail.seen() else 2)
    margin = (_CARD_SIDE - _PATTERN) // 2
    image.paste(cue_picture(trail.cues[cue], _PATTERN, _INK, _PAPER, _LINE), (left + margin, top + margin))
