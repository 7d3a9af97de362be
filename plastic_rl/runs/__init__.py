"""Runs: their folders, settings, callbacks and models. Imports nothing by itself: the help needs no torch."""
