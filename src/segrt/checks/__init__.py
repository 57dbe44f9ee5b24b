"""Can a target run a model? Answered in Keras' terms, by tables and rules, without a GPU."""
