"""Tracking: Weights & Biases, and what plasticity does while an agent trains."""
