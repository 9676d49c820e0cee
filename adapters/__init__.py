"""One folder per system winback reads from or writes to."""
