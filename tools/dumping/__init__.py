"""Writes the frames and the optical flow of videos for tools/dump_frames.py and tools/dump_flow.py."""
