"""Task packs: one folder a domain, behind the contract in `tasks/contract.py`."""
