"""Task packs: one folder a domain, behind the contract in `tasks/contract.py`."""

import sys

from tasks.moved import Finder

sys.meta_path.append(Finder())
