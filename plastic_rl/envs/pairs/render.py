"""Pictures and text of a lifetime of paired associates."""

import math

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from plastic_rl.envs.drawing import CARD, cue_picture, font
from plastic_rl.envs.pairs.rules import Lifetimes, Pairs, number_of_rounds
from plastic_rl.envs.state import Stateful

# Okabe and Ito's palette, which stays distinct for colour-blind eyes, on greys. Two of its colours are kept
# for right and wrong; answers have the others and a number.
_GROUND, _LINE = (58, 62, 70), (200, 198, 190)
_INK, _PAPER, _FAINT, _TEXT = (40, 42, 48), (255, 255, 255), (222, 220, 214), (255, 255, 255)
_NOW, _RIGHT, _WRONG = (86, 180, 233), (0, 158, 115), (213, 94, 0)
_ANSWERS = [(0, 114, 178), (230, 159, 0), (204, 121, 167), (86, 180, 233), (240, 228, 66), (140, 140, 140)]

PATTERN = 64
"""Side of a cue's picture in pixels."""

_WIDTH, _HEIGHT, _GAP, _HEADER = 96, 136, 8, 88


class Trail(Stateful):
    """One lifetime and what was answered in it so far.

    Attributes:
        rules: of the environment.
        steps: that were taken.
        given: by pair, the answers given when one was wanted, each with whether it was right.
    """

    # fmt: off
    state_attributes = ("count", "length", "cues", "pairs", "targets", "answers", "seen",
                        "steps", "given", "outcome")
    # fmt: on

    def __init__(self, rules: Pairs):
        self.rules = rules

    def start(self, lifetimes: Lifetimes, row: int) -> None:
        """Begin the lifetime with this number; its arrays must not change any more."""
        self.count = int(lifetimes.counts[row])
        self.length = int(lifetimes.lengths[row])
        self.cues = lifetimes.cues[row]
        self.pairs = lifetimes.pairs[row]
        self.targets = lifetimes.targets[row]
        self.answers = lifetimes.answers[row]
        # A training begins many lifetimes and draws few: what is asked of them is found out then.
        self.seen = lifetimes.observations[row]
        self.steps = 0
        self.given: list[list[tuple[int, bool]]] = [[] for _ in range(self.count)]
        self.outcome: tuple[int, bool] | None = None

    def record(self, action: int) -> None:
        """Add a step with this action."""
        target = int(self.targets[self.steps])
        self.outcome = None if target < 0 else (action, action == target)
        if self.outcome is not None:
            self.given[int(self.pairs[self.steps])].append(self.outcome)
        self.steps += 1

    def shows_cue(self) -> bool:
        """Whether a cue is seen now."""
        return bool(self.seen[self.steps, : self.rules.answer_start].any())

    def told(self, step: int) -> int:
        """The answer that this step tells, -1 where there is none."""
        answer = self.seen[step, self.rules.answer_start : -2]
        return int(answer.argmax()) if answer.any() else -1

    def known(self, pair: int) -> int | None:
        """The answer of this pair that the agent was last told or found; None before that."""
        if self.rules.is_tried:
            found = [answer for answer, right in self.given[pair] if right]
        else:
            shown = np.flatnonzero(self.pairs[: self.steps + 1] == pair).tolist()
            found = [answer for answer in map(self.told, shown) if answer >= 0]
        return found[-1] if found else None

    def has_appeared(self, pair: int) -> bool:
        """Whether its cue was shown by now."""
        return pair in self.pairs[: self.steps + 1]

    def sees(self) -> str:
        """What is seen now, in words."""
        pair = int(self.pairs[self.steps])
        parts = []
        if self.shows_cue():
            parts.append(f"cue {pair}")
        if self.told(self.steps) >= 0:
            parts.append(f"answer {self.told(self.steps)}")
        if self.rules.is_tried and self.outcome is not None:
            parts.append(f"outcome of {self.outcome[0]}: {'right' if self.outcome[1] else 'wrong'}")
        if self.targets[self.steps] >= 0:
            parts.append("an answer is wanted")
        return ", ".join(parts) or "nothing"

    def score(self) -> str:
        """Counts of this lifetime, in words."""
        outcomes = [right for answers in self.given for _, right in answers]
        return f"step {self.steps} of {self.length}, {sum(outcomes)} of {len(outcomes)} right"


def render_trail(render_mode: str | None, trail: Trail) -> NDArray[np.uint8] | str:
    """An (H, W, 3) uint8 picture for "rgb_array", otherwise text."""
    return draw(trail) if render_mode == "rgb_array" else write(trail)


def write(trail: Trail) -> str:
    """A line for each pair: cue, answer (`?` before it could be known), what was answered; then what is seen.

    `>` marks the pair of now; after an answer stands `+` if it was right, `-` if it was wrong, and `.` for a
    question to come.
    """
    lines = []
    rounds = number_of_rounds(trail.rules.options)
    for pair in range(trail.count):
        cue = "".join("-.+"[int(sign) + 1] for sign in trail.cues[pair])
        known = trail.known(pair)
        answers = [f"{answer}{'+' if right else '-'}" for answer, right in trail.given[pair]]
        answers += ["."] * (rounds - len(answers))
        mark = ">" if trail.pairs[trail.steps] == pair else " "
        lines.append(f"{mark} {pair:2d}  {cue}  {'?' if known is None else known}  {' '.join(answers)}")
    return "\n".join([*lines, f"now: {trail.sees()}", trail.score()])


def draw(trail: Trail) -> NDArray[np.uint8]:
    """A card for each pair, under a line that shows what the agent sees now.

    On a card: the cue, faint before it was first seen; a disc with the right answer, filled from when the
    agent could know it; beside it a square with the last answer given, framed green with a tick if it was
    right, red with a cross if it was wrong; under them a mark for each question: grey before it was asked.
    The pair of now has a blue frame.

    Returns:
        (H, W, 3) uint8; the size depends on the arguments of the environment only.
    """
    most = trail.rules.options.pairs_range[1]
    columns = min(most, max(4, math.ceil(math.sqrt(2 * most))))
    width = max(columns, 4) * (_WIDTH + _GAP) + _GAP
    height = _HEADER + math.ceil(most / columns) * (_HEIGHT + _GAP) + _GAP
    image = Image.new("RGB", (width, height), _GROUND)
    canvas = ImageDraw.Draw(image)
    _draw_header(image, canvas, trail)
    for pair in range(trail.count):
        row, column = divmod(pair, columns)
        left = _GAP + column * (_WIDTH + _GAP)
        top = _HEADER + _GAP + row * (_HEIGHT + _GAP)
        _draw_card(image, canvas, trail, pair, left, top)
    return np.array(image)


def _draw_header(image: Image.Image, canvas: ImageDraw.ImageDraw, trail: Trail) -> None:
    top = (_HEADER - PATTERN) // 2 + 4
    now = trail.steps
    if trail.shows_cue():
        image.paste(cue_picture(trail.cues[trail.pairs[now]], PATTERN, _INK, _PAPER, _LINE), (2 * _GAP, top))
    else:
        canvas.rectangle((2 * _GAP, top, 2 * _GAP + PATTERN - 1, top + PATTERN - 1), outline=_LINE)
    left = 2 * _GAP + PATTERN + 24
    middle = top + PATTERN // 2
    if trail.told(now) >= 0:
        _disc(canvas, (left, middle), trail.told(now), filled=True)
    if trail.targets[now] >= 0:
        canvas.text((left, middle), "?", fill=_TEXT, font=font(36), anchor="mm")
    elif trail.outcome is not None:
        _square(canvas, (left, middle), *trail.outcome)
    canvas.text(
        (left + 32, middle - 12), f"step {now} of {trail.length}", fill=_TEXT, font=font(16), anchor="lm"
    )
    outcomes = [right for answers in trail.given for _, right in answers]
    text = f"{sum(outcomes)} of {len(outcomes)} right"
    canvas.text((left + 32, middle + 12), text, fill=_TEXT, font=font(16), anchor="lm")


def _draw_card(
    image: Image.Image, canvas: ImageDraw.ImageDraw, trail: Trail, pair: int, left: int, top: int
) -> None:
    frame = (left, top, left + _WIDTH - 1, top + _HEIGHT - 1)
    is_now = trail.pairs[trail.steps] == pair
    canvas.rectangle(frame, fill=CARD, outline=_NOW if is_now else CARD, width=5)
    margin = (_WIDTH - PATTERN) // 2
    colours = (_INK, _PAPER) if trail.has_appeared(pair) else (_FAINT, CARD)
    image.paste(cue_picture(trail.cues[pair], PATTERN, *colours, _LINE), (left + margin, top + 11))
    middle, given, known = top + 97, trail.given[pair], trail.known(pair)
    # Before an answer was told or found, the one that will be right: after a change it is the new one.
    answer = int(trail.answers[0, pair]) if known is None else known
    _disc(canvas, (left + 28, middle), answer, filled=known is not None)
    if given:
        _square(canvas, (left + _WIDTH - 29, middle), *given[-1])
    rounds = number_of_rounds(trail.rules.options)
    pitch = min(20.0, PATTERN / rounds)
    for number in range(rounds):
        x = left + _WIDTH / 2 + (number - (rounds - 1) / 2) * pitch
        colour = _LINE if number >= len(given) else _RIGHT if given[number][1] else _WRONG
        half = max(1.0, pitch / 2 - 1.5)
        canvas.rectangle((x - half, top + 119, x + half, top + 127), fill=colour)


def _disc(canvas: ImageDraw.ImageDraw, centre: tuple[int, int], answer: int, filled: bool) -> None:
    x, y = centre
    colour = _ANSWERS[answer % len(_ANSWERS)]
    box = (x - 14, y - 14, x + 14, y + 14)
    canvas.ellipse(box, fill=colour if filled else CARD, outline=colour if filled else _LINE, width=2)
    canvas.text(centre, str(answer), fill=_number(answer) if filled else _LINE, font=font(16), anchor="mm")


def _square(canvas: ImageDraw.ImageDraw, centre: tuple[int, int], answer: int, right: bool) -> None:
    x, y = centre
    box = (x - 15, y - 15, x + 15, y + 15)
    colour = _RIGHT if right else _WRONG
    canvas.rectangle(box, fill=_ANSWERS[answer % len(_ANSWERS)], outline=colour, width=4)
    canvas.text(centre, str(answer), fill=_number(answer), font=font(16), anchor="mm")
    x, y = x + 13, y - 13
    canvas.ellipse((x - 8, y - 8, x + 8, y + 8), fill=colour)
    if right:
        canvas.line([(x - 4, y), (x - 1, y + 3), (x + 4, y - 3)], fill=_PAPER, width=2)
    else:
        canvas.line([(x - 3, y - 3), (x + 3, y + 3)], fill=_PAPER, width=2)
        canvas.line([(x - 3, y + 3), (x + 3, y - 3)], fill=_PAPER, width=2)


def _number(answer: int) -> tuple[int, int, int]:
    """The colour in which a number is legible on that of the answer."""
    return _PAPER if sum(_ANSWERS[answer % len(_ANSWERS)]) < 300 else _INK
