"""From image files to masks: reading, tiling, blending, writing."""
