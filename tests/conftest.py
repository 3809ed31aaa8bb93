"""How property tests run: judged by what they claim, not by how busy the machine is.

With `CI` set they draw the same examples every time, so that a change is judged by what it changes; elsewhere each run
draws new ones, and what they find becomes a case.
"""

import os

from hypothesis import settings

settings.register_profile("everywhere", deadline=None, derandomize=bool(os.environ.get("CI")))
settings.load_profile("everywhere")
