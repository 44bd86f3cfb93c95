#!/usr/bin/env bash
# Train on several nodes, from the first of them: start Ray's head, wait for the other nodes, train, stop the head.
#
#   AZR_NNODES=4 AZR_NODE_IP=10.0.0.1 launch/ray_head.sh cluster=multi_node experiment=... run.dir=/shared/runs/mine
#
# Every other node runs launch/ray_worker.sh, before or after. The same commands again resume the run.
#
#   AZR_NNODES    nodes to wait for, this one included
#   AZR_NODE_IP   address of this node, as the other nodes reach it
#   AZR_PORT      port of Ray's head; default 6379
#   AZR_NUM_CPUS  CPU slots that this node offers; default: its cores
#   AZR_NUM_GPUS  GPU slots that this node offers; default: its GPUs
#   AZR_WAIT_S    seconds to wait for the nodes; default 300
#   and those of launch/env.sh
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=launch/env.sh
source launch/env.sh

: "${AZR_NNODES:?say how many nodes to wait for, this one included}"
: "${AZR_NODE_IP:?say the address of this node, as the other nodes reach it}"
export AZR_NNODES # conf/cluster/multi_node.yaml reads it
AZR_PORT="${AZR_PORT:-6379}"
AZR_WAIT_S="${AZR_WAIT_S:-300}"

num_nodes() {
  ray status --address "$RAY_ADDRESS" 2>/dev/null | grep -cE '^ [0-9]+ node_' || true
}

# What this script started: the head, and the training where a signal came to the script alone.
stop() {
  local children=()
  read -r -a children <"/proc/$$/task/$$/children" || true
  kill "${children[@]}" 2>/dev/null || true
  wait
}

if [ -z "${RAY_AUTH_TOKEN:-}" ] && [ ! -e "$RAY_AUTH_TOKEN_PATH" ]; then
  (umask 077 && mkdir -p "$(dirname "$RAY_AUTH_TOKEN_PATH")" &&
    head -c 32 /dev/urandom | od -An -v -tx1 | tr -d ' \n' >"$RAY_AUTH_TOKEN_PATH")
fi
check_token
! listens "$AZR_NODE_IP" "$AZR_PORT" ||
  fail "port $AZR_PORT of $AZR_NODE_IP must be free for Ray's head, and something listens there." \
    "Stop it, or set AZR_PORT here and on the other nodes."

log="$(new_log head.log)"
slots=(${AZR_NUM_CPUS:+--num-cpus="$AZR_NUM_CPUS"} ${AZR_NUM_GPUS:+--num-gpus="$AZR_NUM_GPUS"})
# In a session of its own: Ctrl-C reaches the training alone, and the head goes when that has ended.
# Without the dashboard: this cluster is for one run, and takes no jobs of others.
setsid ray start --head --block --include-dashboard=false --node-ip-address="$AZR_NODE_IP" --port="$AZR_PORT" \
  "${slots[@]}" >"$log" 2>&1 &
head=$!
trap stop EXIT

export RAY_ADDRESS="$AZR_NODE_IP:$AZR_PORT" # what ray.init joins, in place of a cluster of its own
deadline=$((SECONDS + AZR_WAIT_S))
until [ "$(num_nodes)" -ge "$AZR_NNODES" ]; do
  kill -0 "$head" 2>/dev/null || fail "Ray's head ended: $(tail -n 1 "$log") (more in $log)"
  [ "$SECONDS" -lt "$deadline" ] ||
    fail "AZR_NNODES=$AZR_NNODES nodes must join within AZR_WAIT_S=$AZR_WAIT_S seconds; $(num_nodes) are there." \
      "Look at what launch/ray_worker.sh says on the others, and whether they reach $RAY_ADDRESS."
  sleep 2
done

python -m recipe.main_azr "$@"
