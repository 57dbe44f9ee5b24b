"""SegRT: verified deployment of Keras segmentation networks."""
