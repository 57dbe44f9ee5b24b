"""How fast a package is, beside other ways to run the same network."""
