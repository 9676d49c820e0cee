"""The verbs of the command line as functions: pull, evaluate, plan, apply, run, undo.

Each takes an open workspace and returns what happened; nothing here prints results or picks exit codes. Callers import
a function from the module it lives in. Read in this order, which is also the order in which they import each other:

- `lock` and `away`: what long work asks between two steps; how a CRM that does not answer is left out.
- `readying` and `pulling`: people matched and features up to date; the sources read.
- `segmenting`: who is in which segment, and what is known about each.
- `inputs`, `planning` and `plan_files`: what a plan depends on, the plan of every destination, its file.
- `outcome`, `recording` and `context`: what became of the work, its record in the journal, what it writes with.
- `applying` and `undoing`: plans carried out; what a run wrote taken back.
- `publishing` and `running`: what a run leaves for others to read; the others in a row, as a scheduler calls them.
"""
