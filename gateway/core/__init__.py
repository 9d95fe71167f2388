"""Nouns, clocks, ids, ports and the error tree that neighbouring packages share. Standard library only."""
