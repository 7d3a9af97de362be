"""The command line, one file per command. Imports nothing by itself: the help needs no torch."""
