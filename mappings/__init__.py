"""How each provider's fields become ours: mapping files, their schema and their compiler."""
