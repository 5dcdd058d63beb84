"""Keeps the documented import `networks.slowfast`; the network is in networks/clip/slowfast.py."""

from networks.clip.slowfast import SlowFastNet as SlowFastNet
