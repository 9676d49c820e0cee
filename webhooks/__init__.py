"""Where what other systems tell us arrives; nothing here imports an adapter."""
