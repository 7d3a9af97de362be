"""The figures that ``plastic-rl plot`` draws."""

from collections.abc import Callable, Iterator
from pathlib import Path

from plastic_rl.analysis.plots.curves import draw_learning_curves
from plastic_rl.analysis.plots.lifetimes import draw_lifetimes
from plastic_rl.analysis.plots.matrices import draw_matrices
from plastic_rl.analysis.plots.study import Study

FIGURES: dict[str, Callable[[Study, Path], Iterator[Path]]] = {
    "learning curves": draw_learning_curves,
    "lifetimes": draw_lifetimes,
    "matrices": draw_matrices,
}
"""By name, what draws figures of a study into a folder and yields each file once it is there.

A study that has nothing for it leaves none. Another figure is a file beside this one and a row here.
"""
