"""Custom layers that many published models carry, one file each; `_base.py` says how."""
