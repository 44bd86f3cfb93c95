#!/usr/bin/env bash
# Train on a Ray cluster that is there already (KubeRay's, say): ship this checkout as a job and follow its output.
#
#   RAY_ADDRESS=http://10.0.0.1:8265 launch/ray_submit.sh cluster=multi_node experiment=... run.dir=/shared/runs/mine
#
#   RAY_ADDRESS  Ray's dashboard, which takes jobs
#   and those of launch/env.sh; the token must be the cluster's
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=launch/env.sh
source launch/env.sh

: "${RAY_ADDRESS:?say the address of the dashboard of Ray, http://HOST:8265}"
check_token
[[ " $* " == *" run.dir=/"* ]] ||
  fail "run.dir must be given, as an absolute path that every node sees: the job runs in a copy of this checkout," \
    "which is gone when it ends"

exec ray job submit --runtime-env-json '{"working_dir": ".", "excludes": [".git", ".venv", "runs"]}' \
  -- python -m recipe.main_azr "$@"
