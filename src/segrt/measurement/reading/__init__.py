"""What the nodes of a graph ask for, in plain numbers, for whoever translates them."""
