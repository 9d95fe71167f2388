"""The gateway's HTTP side: health and metrics."""
