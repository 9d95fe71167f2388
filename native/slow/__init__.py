"""The reference engine in small pieces of Python and numpy; `native.reference` puts them together."""
