"""A made-up software company to rehearse on: accounts, people, two years of usage, nothing real in it."""
