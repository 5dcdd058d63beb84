"""Fetches encoded frames from where they are stored: a disk, memcached, packs of frames, optical flow."""
