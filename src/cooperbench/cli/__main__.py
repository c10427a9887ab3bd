"""``python -m cooperbench.cli``: the command line where its script is not on the path."""

import sys

from cooperbench.cli import main

sys.exit(main())
