"""Holds the image networks, which see one frame at a time, and finds those of torchvision and timm."""
