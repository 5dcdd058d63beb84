"""Holds the networks that see a whole clip at once: 3-D ResNets, SlowFast, factorised and separated convolutions."""
