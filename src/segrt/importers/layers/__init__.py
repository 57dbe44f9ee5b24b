"""Converters of Keras layers: one file a family, each registered with `@keras_layer`."""
