"""The run is also a program of its own, so its parts are modules beside it, not fixtures."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
