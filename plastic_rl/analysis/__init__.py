"""The study of trained agents: activity, lifetimes, lesions, pictures."""

from plastic_rl.analysis.activity import Activity, record_activity
from plastic_rl.analysis.lesions import Lesion, clamp, forget, freeze, silence, wipe, wipe_once
from plastic_rl.analysis.lifetime import Lifetimes, record_lifetimes
from plastic_rl.analysis.selectivity import selectivity

__all__ = [
    "Activity",
    "Lesion",
    "Lifetimes",
    "clamp",
    "forget",
    "freeze",
    "record_activity",
    "record_lifetimes",
    "selectivity",
    "silence",
    "wipe",
    "wipe_once",
]
