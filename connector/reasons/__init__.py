"""Why people leave: the reasons, and how an answer in somebody's own words is read.

`classify` reads by rule files (one a language, and a team's own over them) that anyone can look up and change.
"""

from connector.reasons.classify import ENOUGH, Found, Guess, classify
from connector.reasons.codes import REASONS
from connector.reasons.rulebook import Rulebook, bundled, extended

__all__ = ["ENOUGH", "REASONS", "Found", "Guess", "Rulebook", "bundled", "classify", "extended"]
