"""Trunkline: a telephony IVR and voice-agent gateway. See docs/architecture.md for the tree and the layering rule."""

__version__ = "0.1.0"
