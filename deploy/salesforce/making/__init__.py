"""How each kind of metadata is made from what the code knows."""
