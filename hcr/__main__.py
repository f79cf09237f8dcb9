"""`python -m hcr`."""

import sys

from hcr.cli import main

sys.exit(main())
