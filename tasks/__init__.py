"""Task packs: one folder a domain, behind the contract in `tasks/contract.py`."""

from tasks import moved

moved.install()
