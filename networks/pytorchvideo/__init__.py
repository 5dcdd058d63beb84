"""Offers the parts of PyTorchVideo's networks under its names, with its arguments, keys and outputs.

Whole networks are built from them in networks/create_resnet.py, create_slowfast.py, create_csn.py, create_x3d.py and
create_mvit.py.
"""
