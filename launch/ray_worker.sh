#!/usr/bin/env bash
# Lend this node to the cluster of launch/ray_head.sh, until that ends.
#
#   AZR_HEAD_ADDRESS=10.0.0.1 launch/ray_worker.sh
#
#   AZR_HEAD_ADDRESS  host name or address of the node that runs launch/ray_head.sh
#   AZR_PORT          port of Ray's head; default 6379
#   AZR_NODE_IP       address of this node, as the other nodes reach it; default: the one that Ray finds
#   AZR_NUM_CPUS      CPU slots that this node offers; default: its cores
#   AZR_NUM_GPUS      GPU slots that this node offers; default: its GPUs
#   AZR_WAIT_S        seconds in which to find the head and join it; default 300
#   and those of launch/env.sh; the token must be the head's
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=launch/env.sh
source launch/env.sh

: "${AZR_HEAD_ADDRESS:?say the host name or address of the node that runs launch/ray_head.sh}"
AZR_PORT="${AZR_PORT:-6379}"
AZR_WAIT_S="${AZR_WAIT_S:-300}"
address="$AZR_HEAD_ADDRESS:$AZR_PORT"

deadline=$((SECONDS + AZR_WAIT_S))
until listens "$AZR_HEAD_ADDRESS" "$AZR_PORT"; do
  [ "$SECONDS" -lt "$deadline" ] ||
    fail "Ray's head must listen at $address within AZR_WAIT_S=$AZR_WAIT_S seconds, and nothing does." \
      "Start launch/ray_head.sh there, or mend AZR_HEAD_ADDRESS and AZR_PORT."
  sleep 1
done
check_token # after the head is there: it makes the token, which a shared home directory brings here

log="$(new_log "worker_${AZR_NODE_IP:-$(hostname)}.log")"
echo "joining $address; Ray's own output is in $log"
options=(${AZR_NODE_IP:+--node-ip-address="$AZR_NODE_IP"})
options+=(${AZR_NUM_CPUS:+--num-cpus="$AZR_NUM_CPUS"} ${AZR_NUM_GPUS:+--num-gpus="$AZR_NUM_GPUS"})
trap '[ -z "${node:-}" ] || { kill "$node" 2>/dev/null && wait "$node"; } || true' EXIT
until grep -q "Ray runtime started" "$log"; do
  ray start --block --address="$address" "${options[@]}" >"$log" 2>&1 &
  node=$!
  wait "$node" || true # Ray's status is 1 however its head ended
  ! grep -q InvalidAuthToken "$log" ||
    fail "the head at $address must have the same token, and refuses that of $RAY_AUTH_TOKEN_PATH." \
      "Copy the head's file."
  # Ray gives itself 30 s, which is too little while a busy node starts.
  grep -q "Ray runtime started" "$log" || [ "$SECONDS" -lt "$deadline" ] ||
    fail "Ray did not join $address: $(tail -n 1 "$log") (more in $log)"
done
echo "the cluster of $address has ended, or this node lost it"
