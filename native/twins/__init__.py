"""Every kernel again in plain numpy, one file a unit, written for reading. Tests hold the kernels to these."""
