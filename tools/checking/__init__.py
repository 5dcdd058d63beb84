"""Checks lists, frames and videos for tools/check_data.py."""
