"""Keeps the documented import `networks.slowfast`; the network is in `networks.clip.slowfast`."""

from networks.clip.slowfast import SlowFastNet as SlowFastNet
