#!/usr/bin/env bash
# Install lock files and this project into a virtual environment. Usage: install.sh VENV LOCK...
# Run by `make env`. Writes VENV/installed when all is done, and only then.
set -euo pipefail
venv=$1
shift
locks=("$@")

fail() {
  echo "make env: $*" >&2
  exit 1
}

usable() { # does this command start a Python that fits?
  "$1" -c 'import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info < (3, 13))' 2>/dev/null
}

rm -f "$venv/installed"
# A marker from an earlier run means that pip was cut short in there: a package may be half written and yet
# look installed, so nothing of it is kept.
if [ -e "$venv/installing" ] || ! usable "$venv/bin/python"; then
  for python in python3.11 python3.12 python3 python none; do
    if usable "$python"; then break; fi
  done
  [ "$python" != none ] || fail "Python 3.11 or 3.12 with its venv module was not found on PATH; install it" \
    "(on Debian or Ubuntu: python3.11 and python3.11-venv) and run make env again."
  echo "make env: creating $venv with $("$python" --version)"
  "$python" -m venv --clear "$venv"
fi
touch "$venv/installing"

pip() { "$venv/bin/python" -m pip --disable-pip-version-check "$@"; }

# Asked first, because it is what an index most often lacks, and pip's own message does not say what to do.
torch=$(grep -h '^torch==' "${locks[@]}")
if ! pip download -qq --no-deps --dest "$venv/wheels" "$torch"; then
  fail "the package index has no $torch (PyTorch's CPU build, or the index cannot be reached); set" \
    "PIP_EXTRA_INDEX_URL to PyTorch's index of CPU wheels, named on its installation page, and run make env again."
fi

echo "make env: installing $(cat "${locks[@]}" | grep -c ==) packages, 4 GB on disk; this takes minutes"
requirements=()
for lock in "${locks[@]}"; do requirements+=(-r "$lock"); done
pip install -qq --no-deps --find-links "$venv/wheels" "${requirements[@]}"
pip install -qq --no-deps --no-build-isolation --editable .
rm -rf "$venv/wheels" "$venv/installing"
touch "$venv/installed"
echo "make env: $venv is ready"
