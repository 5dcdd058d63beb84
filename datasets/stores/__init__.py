"""Fetches encoded frames from where they lie: a disk, memcached, packs, fields of optical flow."""
