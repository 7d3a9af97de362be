"""Runs: folders, records, hyper-parameters, callbacks, models. Imports nothing: the help needs no torch."""
