"""Between runs: what other systems tell us, judged at once, and what follows from it, carried out.

Nothing here opens the warehouse: what has to be known of people, the last run has put into the journal.
"""
