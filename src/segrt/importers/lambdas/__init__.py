"""What Lambda layers may be said to compute, one file a family; `_base.py` says how."""
