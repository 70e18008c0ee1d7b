"""`python -m lucid` is the command `lucid`."""

import sys

from lucid.cli import main

sys.exit(main())
