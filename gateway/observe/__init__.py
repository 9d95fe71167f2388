"""Logs that keep callers' secrets, and metrics."""
