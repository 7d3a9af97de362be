"""The figures: learning curves, lifetimes, matrices of connections, reconstructions."""

from plastic_rl.analysis.plots.animation import trace_animation
from plastic_rl.analysis.plots.curves import (
    Against,
    learning_curve,
    learning_curves,
    quartiles_over_runs,
    running_mean,
    running_statistics,
)
from plastic_rl.analysis.plots.lifetimes import first_hit_curves, lifetime_curves, search_time_curves
from plastic_rl.analysis.plots.matrices import (
    neuron_order,
    plastic_matrices,
    trace_snapshots,
    weight_matrices,
)
from plastic_rl.analysis.plots.reconstructions import reconstructions

__all__ = [
    "Against",
    "first_hit_curves",
    "learning_curve",
    "learning_curves",
    "lifetime_curves",
    "neuron_order",
    "plastic_matrices",
    "quartiles_over_runs",
    "reconstructions",
    "running_mean",
    "running_statistics",
    "search_time_curves",
    "trace_animation",
    "trace_snapshots",
    "weight_matrices",
]
