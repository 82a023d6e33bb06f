"""The commands, one file for each. What they import and make stays, so that Python looks for garbage in it less often:
otherwise that is a tenth of the time until a command gets to work."""

import gc

gc.set_threshold(20_000, 20, 100)
