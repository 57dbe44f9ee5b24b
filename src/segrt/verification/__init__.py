"""Proof that a package still says what its source said, layer by layer, in Keras' terms."""
