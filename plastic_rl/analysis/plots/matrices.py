"""Pictures of matrices of connections: trained weights and plasticities, and the Hebbian trace."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import nn

from plastic_rl.analysis.plots.study import Study
from plastic_rl.analysis.plots.style import CURVES, DIVERGING, picture
from plastic_rl.policies.plastic_modules import plastic_modules


def plastic_matrices(policy: nn.Module) -> dict[str, np.ndarray]:
    """The trained matrices of a policy's first plastic network: ``w``, and ``alpha`` where it is a matrix.

    Returns:
        Arrays by name, row i, column j the connection from i to j; empty without a plastic network.
    """
    for module in plastic_modules(policy).values():
        found = {"w": module.w, "alpha": module.alpha}
        return {
            name: matrix.detach().cpu().numpy()
            for name, matrix in found.items()
            if matrix is not None and matrix.dim() == 2
        }
    return {}


def neuron_order(matrix: np.ndarray) -> np.ndarray:
    """The neurons in an order that shows a matrix's structure: those that belong together lie together.

    They are sorted by their part in the strongest eigenvector of the matrix's symmetric half; what is
    positive among alike neurons, as a Hebbian trace is, becomes blocks.

    Args:
        matrix: (N, N).

    Returns:
        (N,), indices of the neurons.
    """
    values, vectors = np.linalg.eigh(matrix + matrix.T)
    return np.argsort(vectors[:, np.abs(values).argmax()], kind="stable")


def weight_matrices(
    matrices: Mapping[str, np.ndarray], path: str | Path, order: np.ndarray | None = None, title: str = ""
) -> None:
    """Draw matrices of connections side by side, each over a histogram of its entries.

    Args:
        matrices: (N, N) by name; row i, column j is the connection from neuron i to neuron j.
        path: the picture file to write.
        order: (N,), the neurons in the order in which to draw them, see `neuron_order`; as they are if None.
        title: heading.

    Raises:
        ValueError: there is no matrix.
    """
    if not matrices:
        raise ValueError("matrices is empty: there is nothing to draw")
    with picture(path, (4.4 * len(matrices), 5.6)) as figure:
        axes = figure.subplots(2, len(matrices), squeeze=False, height_ratios=(3, 1))
        for (name, matrix), image, counts in zip(matrices.items(), axes[0], axes[1], strict=True):
            _draw(figure, image, matrix, order, name, _scale(matrix))
            image.set_xlabel("to neuron")
            image.set_ylabel("from neuron")
            counts.hist(matrix.ravel(), bins=101, log=True, color=CURVES[0])
            counts.set_xlabel(f"{name} of a connection")
            counts.set_ylabel("connections")
            counts.grid(alpha=0.3)
        figure.suptitle(title, fontsize="medium")


def trace_snapshots(
    traces: Mapping[str, np.ndarray],
    path: str | Path,
    alpha: np.ndarray | float | None = None,
    order: np.ndarray | None = None,
    title: str = "",
) -> None:
    """Draw the Hebbian trace at several moments, and under it what it adds to the weights.

    Args:
        traces: (N, N) by caption, in the order of time; all on one scale.
        path: the picture file to write.
        alpha: (N, N) or one number, the plasticity: the lower row is alpha times the trace; none if None.
        order: (N,), the neurons in the order in which to draw them, see `neuron_order`; as they are if None.
        title: heading.

    Raises:
        ValueError: there is no trace.
    """
    if not traces:
        raise ValueError("traces is empty: there is nothing to draw")
    rows = {"trace H": dict(traces)}
    if alpha is not None:
        rows["alpha * H"] = {caption: alpha * trace for caption, trace in traces.items()}
    with picture(path, (2.9 * len(traces) + 0.8, 3.1 * len(rows) + 0.4)) as figure:
        axes = figure.subplots(len(rows), len(traces), squeeze=False)
        for (name, matrices), line in zip(rows.items(), axes, strict=True):
            scale = max(_scale(matrix) for matrix in matrices.values())
            for (caption, matrix), place in zip(matrices.items(), line, strict=True):
                above = caption if name == "trace H" else ""
                _draw(figure, place, matrix, order, above, scale, bar=place is line[-1])
            line[0].set_ylabel(f"{name}\nfrom neuron")
        for place in axes[-1]:
            place.set_xlabel("to neuron")
        figure.suptitle(title, fontsize="medium")


def _scale(matrix: np.ndarray) -> float:
    """The size that gets the strongest colour: a few entries may be larger, or nothing else would show."""
    return float(np.quantile(np.abs(matrix), 0.995)) or 1.0


def _draw(
    figure: Figure,
    axes: Axes,
    matrix: np.ndarray,
    order: np.ndarray | None,
    title: str,
    scale: float,
    bar: bool = True,
) -> None:
    shown = matrix if order is None else matrix[np.ix_(order, order)]
    image = axes.imshow(shown, cmap=DIVERGING, vmin=-scale, vmax=scale, interpolation="nearest")
    axes.set_title(title, fontsize="medium")
    if bar:
        figure.colorbar(image, ax=axes, shrink=0.8, extend="both")


def draw_matrices(study: Study, folder: Path) -> Iterator[Path]:
    """The trained matrices of the first run of each of a study's groups."""
    for label, matrices in study.matrices.items():
        number = "" if len(study.groups) == 1 else f"_{list(study.groups).index(label) + 1}"
        path = folder / f"matrices{number}.png"
        weight_matrices(matrices, path, title=f"{study.title}: {label}")
        yield path
