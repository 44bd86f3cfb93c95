#!/usr/bin/env bash
# Train on this machine. Usage: launch/local.sh experiment=... pack=... [any Hydra override]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
if [ -d .venv ]; then
  PATH="$PWD/.venv/bin:$PATH"
fi
exec python -m recipe.main_azr "$@"
