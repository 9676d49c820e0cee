"""What every look-alike of a system is made of: its clock, its server, its log, its faults, its looks."""
