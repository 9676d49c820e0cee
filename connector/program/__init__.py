"""The win-back program: who is enrolled, step by step, and who must be left alone. Pure: facts in, decisions out."""
