"""How fast the package is."""
