"""Operators: the numerical core, independent of environments and algorithms."""
