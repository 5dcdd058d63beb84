"""Holds the image networks that see one frame at a time, and finds those of torchvision and timm."""
