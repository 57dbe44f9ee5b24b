"""How to look into the sessions of a target: one file a target."""
