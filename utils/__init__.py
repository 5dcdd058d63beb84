"""Holds what everything else is built on; it imports none of the other folders."""
