#!/usr/bin/env bash
# The environment of every node of a cluster: sourced by the scripts beside it, never run. Ray's processes inherit it from
# the `ray start` of their node, and the run's processes from Ray. A platform's own variables (a CPU's, say) are not here:
# the configuration sends them (recipe/cpu/environment.py).
#
#   RAY_AUTH_TOKEN_PATH  file of the cluster's token, the same on every node; default ~/.ray/auth_token, as in Ray
#   RAY_AUTH_TOKEN       the token itself, where a secret is handed over as a variable (Kubernetes)
#   AZR_NODE_IP          address of this node, as the other nodes reach it
#   AZR_INTERFACE        network interface of that address, where the node's host name does not lead to it
#   AZR_LOG_DIR          where attempt_<n>/ with the logs of Ray's start go; default runs/logs
set -euo pipefail

fail() {
  echo "error: $*" >&2
  exit 1
}

# Without it whoever reaches the port runs code on the cluster.
export RAY_AUTH_MODE=token
export RAY_AUTH_TOKEN_PATH="${RAY_AUTH_TOKEN_PATH:-$HOME/.ray/auth_token}"

# Ray would otherwise report the cluster to its authors.
export RAY_USAGE_STATS_ENABLED=0

if [ -n "${AZR_NODE_IP:-}" ]; then
  # vLLM would otherwise take the address of the default route, which may lead out of the cluster, or not exist.
  export VLLM_HOST_IP="$AZR_NODE_IP"
fi

if [ -n "${AZR_INTERFACE:-}" ]; then
  # Gloo listens on the address of the host name, or on loopback if that is not the node's own; no other node gets there.
  export GLOO_SOCKET_IFNAME="$AZR_INTERFACE"
  # NCCL takes the first interface that is up, which may be a container's bridge.
  export NCCL_SOCKET_IFNAME="$AZR_INTERFACE"
fi

if [ -d .venv ]; then
  export PATH="$PWD/.venv/bin:$PATH"
fi

# A token that others can read is none, and Ray's own message for a missing one comes after a minute.
check_token() {
  [ -z "${RAY_AUTH_TOKEN:-}" ] || return 0
  [ -s "$RAY_AUTH_TOKEN_PATH" ] ||
    fail "RAY_AUTH_TOKEN_PATH must be a file with the cluster's token; $RAY_AUTH_TOKEN_PATH is not." \
      "Start the head first, and copy its file here if the home directory is not shared. (A cluster that was" \
      "started without RAY_AUTH_MODE=token has none, and is not joined.)"
  case "$(stat -L -c %a "$RAY_AUTH_TOKEN_PATH")" in
    ?00) ;;
    *) fail "the token in $RAY_AUTH_TOKEN_PATH must be its owner's alone: chmod 600 $RAY_AUTH_TOKEN_PATH" ;;
  esac
}

# Whether something listens at host $1, port $2. A host that does not answer at all costs a second.
listens() {
  timeout 1 bash -c "exec 3<>/dev/tcp/$1/$2" 2>/dev/null
}

# Create the log $1 in the first attempt_<n> that has none, so that no attempt writes over another; print its path.
new_log() {
  local folder="${AZR_LOG_DIR:-runs/logs}" n=1
  while [ -e "$folder/attempt_$n/$1" ]; do
    n=$((n + 1))
  done
  mkdir -p "$folder/attempt_$n"
  : >"$folder/attempt_$n/$1"
  echo "$folder/attempt_$n/$1"
}
