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

# `make demo` and `make test` may be started at the same time.
exec 9<"$(dirname "$0")"
if ! flock --nonblock 9; then
  echo "make env: waiting for another install into $venv"
  flock 9
  if [ -e "$venv/installed" ]; then exit 0; fi
fi

rm -f "$venv/installed"
# The marker of an earlier run means that it was cut short: a package may be half written and yet look
# installed, so nothing of that environment is kept.
if [ -e "$venv/installing" ] || ! usable "$venv/bin/python"; then
  for python in python3.11 python3.12 python3 python none; do
    if usable "$python"; then break; fi
  done
  [ "$python" != none ] || fail "Python 3.11 or 3.12 with its venv module was not found on PATH; install it" \
    "(on Debian or Ubuntu: python3.11 and python3.11-venv) and run make env again."
  echo "make env: creating $venv with $("$python" --version)"
  rm -rf "$venv"
  mkdir -p "$venv"
  touch "$venv/installing"
  "$python" -m venv "$venv"
fi
touch "$venv/installing"

# -qq: warnings about a mirror that lacks a package say nothing here. --no-compile: byte code for all files
# takes as long as the rest of the install; what a run needs of it is compiled below.
install() { "$venv/bin/python" -m pip --disable-pip-version-check install -qq --no-deps --no-compile "$@"; }

# First and alone, because this is the one that an index may lack, and pip does not say what to do about it.
torch=$(grep -h '^torch==' "${locks[@]}")
echo "make env: installing $torch"
if ! error=$(install "$torch" 2>&1); then
  case $error in
    *"from versions: none"*)
      fail "pip finds no torch at all; check that this machine reaches its package index and run make env again." ;;
    *"No matching distribution found for torch"*)
      fail "the package index has no $torch, PyTorch's build for CPUs: set PIP_EXTRA_INDEX_URL to PyTorch's" \
        "index of CPU wheels, named on its installation page, and run make env again." ;;
    *) fail "$error" ;;
  esac
fi

echo "make env: installing $(cat "${locks[@]}" | grep -c '==') packages, 3 GB on disk; this takes minutes"
requirements=()
for lock in "${locks[@]}"; do requirements+=(-r "$lock"); done
install "${requirements[@]}"

install --no-build-isolation --editable .

# Import once what a run imports in each of its many processes. This leaves byte code, without which those
# would all compile the same files at the same time, and it finds an environment that cannot work.
echo "make env: importing the stack once"
stack='import hydra, ray.dashboard.agent, ray.dashboard.dashboard, torch.utils.tensorboard
import recipe.engine.agent_loop, recipe.engine.trainer, recipe.export, recipe.tiny_model, verl.trainer.main_ppo
import verl.workers.engine_workers, verl.workers.rollout.vllm_rollout.vllm_async_server
import transformers.models.qwen2.modeling_qwen2, transformers.models.qwen2.tokenization_qwen2
import vllm.model_executor.models.qwen2, vllm.v1.worker.cpu_worker'
if ! error=$(env -u PYTHONDONTWRITEBYTECODE VERL_PLATFORM=cpu "$venv/bin/python" -c "$stack" 2>&1); then
  fail "the installed packages do not work together; delete $venv and run make env again. $error"
fi

rm "$venv/installing"
touch "$venv/installed"
echo "make env: $venv is ready"
