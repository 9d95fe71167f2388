"""One call as a pure reducer, and the driver that carries its commands out."""
