"""``python -m plastic_rl``: the command line."""

import sys

from plastic_rl.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
