"""Reads files wherever they lie: in a folder, at an address such as s3://bucket/folder, or inside a tar file."""
