#!/usr/bin/env bash
# A vLLM server on each GPU but one, and a study on the GPU that is left, which samples by these servers.
#   launchers/vllm.sh study=geo experiment=geo_qwen2_5_vl_7b
#   SERVERS=6 VLLM=/opt/vllm/bin/vllm launchers/vllm.sh study=geo experiment=geo_qwen2_5_vl_7b seed='range(5)' -m
# The servers are up before train.py begins, stay up until it has ended, and are stopped then. Their output is in
# outputs/servers/. Ctrl-C or SIGTERM reaches train.py, which finishes its step and writes a checkpoint; a second Ctrl-C ends it
# at once. The exit code is that of train.py.
# SERVERS: how many, a GPU for each; train.py gets the rest. Where there is one GPU, one server shares it with train.py, and
# preflight predicts what train.py needs of it. Without a GPU (vLLM built for the CPU): as many as you write, 1 by default.
# VLLM: how vllm is called, where it lives in another virtual environment. BASE_PORT: the first port, 8000; ports that are
# taken are left out. START_MINUTES: until all servers must answer, 20. MEMORY_SHARE: the part of a GPU's memory that a server
# takes (--gpu-memory-utilization), as 0.5; vLLM's own default where each server has a GPU of its own.
# In SLURM: the same command as a job of one node, whose GPUs it sees by CUDA_VISIBLE_DEVICES:
#   sbatch --nodes=1 --ntasks=1 --gpus=8 --cpus-per-task=64 --signal=B:TERM@600 launchers/vllm.sh study=geo experiment=...
# With --signal the checkpoint is written 600 seconds before the time limit; type the same command again to go on.
set -euo pipefail
PYTHON=${PYTHON:-.venv/bin/python} VLLM=${VLLM:-vllm} LOGS=outputs/servers
servers=() trainer=

refuse() {
  echo "$1" >&2
  exit 2
}

stop_servers() { # only what was started here: each server leads a process group of its own
  trap '' INT TERM HUP
  for server in "${servers[@]}"; do kill -TERM -- "-$server" 2>/dev/null || kill -TERM "$server" 2>/dev/null || :; done
  for _ in {1..100}; do
    running=()
    for server in "${servers[@]}"; do if kill -0 -- "-$server" 2>/dev/null; then running+=("$server"); fi; done
    if ((${#running[@]} == 0)); then return; fi
    sleep 0.1
  done
  for server in "${running[@]}"; do kill -KILL -- "-$server" 2>/dev/null || :; done
  wait "${running[@]}" 2>/dev/null || :
}
trap stop_servers EXIT
# Ctrl-C reaches train.py by itself. Before there is one, nothing is lost by an end at once.
trap 'if [[ -z $trainer ]]; then exit 130; fi' INT
trap 'if [[ -z $trainer ]]; then exit 143; fi; kill -TERM "$trainer" 2>/dev/null || :' TERM HUP

is_healthy() { # the port of a server
  ( exec 3<>"/dev/tcp/127.0.0.1/$1" && printf 'GET /health HTTP/1.0\r\n\r\n' >&3 &&
    read -r -t 5 _ code _ <&3 && [[ $code == 200 ]] ) 2>/dev/null
}

is_taken() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

visible=$("$PYTHON" -m vlm_rl.commands.own_gpus)
IFS=, read -ra gpus <<<"$visible"
num_gpus=${#gpus[@]}
num_servers=${SERVERS:-$((num_gpus > 1 ? num_gpus - 1 : 1))}
if [[ ! $num_servers =~ ^[1-9][0-9]*$ ]]; then refuse "SERVERS=$num_servers is no number of servers. Write 1 or more."; fi
own=$((num_gpus - num_servers)) # GPUs that no server has
if ((num_gpus == 1 && num_servers == 1)); then
  own=1 MEMORY_SHARE=${MEMORY_SHARE:-auto}
elif ((num_gpus > 0 && own < 1)); then
  refuse "SERVERS=$num_servers leaves no GPU for train.py; $num_gpus are visible here. Make SERVERS smaller."
fi

ports=() port=${BASE_PORT:-8000}
while ((${#ports[@]} < num_servers)); do
  if ! is_taken "$port"; then ports+=("$port"); fi
  port=$((port + 1))
done
joined=$(IFS=, && echo "${ports[*]}")
commands=$(PORT=$joined MEMORY_SHARE=${MEMORY_SHARE:-} "$PYTHON" -m vlm_rl.commands.serve_flags rollout=vllm "$@")

mkdir -p "$LOGS"
while IFS= read -r command; do
  place=${#servers[@]}
  where=()
  if ((num_gpus > 0)); then where=("CUDA_VISIBLE_DEVICES=${gpus[num_gpus - num_servers + place]}"); fi
  # The variables before ` vllm ` are env's. setsid: Ctrl-C in a terminal is for train.py.
  setsid env "${where[@]}" bash -c "exec env ${command%% vllm *} $VLLM ${command#* vllm } --host 127.0.0.1" \
    >"$LOGS/port-${ports[place]}.log" 2>&1 </dev/null &
  servers+=("$!")
done <<<"$commands"

echo "Starting ${#servers[@]} vLLM server(s) on port(s) $joined; their output is in $LOGS/port-*.log."
deadline=$((SECONDS + ${START_MINUTES:-20} * 60))
for place in "${!servers[@]}"; do
  log=$LOGS/port-${ports[place]}.log
  until is_healthy "${ports[place]}"; do
    why=
    for other in "${!servers[@]}"; do
      if ! kill -0 "${servers[other]}" 2>/dev/null; then why="ended while it was starting" log=$LOGS/port-${ports[other]}.log; fi
    done
    if [[ -z $why ]] && ((SECONDS >= deadline)); then why="did not answer within START_MINUTES=${START_MINUTES:-20}"; fi
    if [[ -n $why ]]; then
      echo "A vLLM server $why. The end of $log:" >&2
      tail -n 20 "$log" >&2
      exit 1
    fi
    sleep 0.5
  done
done

if ((num_gpus > 0)); then
  export CUDA_VISIBLE_DEVICES=$(IFS=, && echo "${gpus[*]:0:own}")
  set -- trainer.devices="$own" "$@"
fi
urls=("${ports[@]/#/http://127.0.0.1:}")
# In the background, so that this script hears SIGTERM meanwhile; there bash has Ctrl-C ignored, which env undoes.
env --default-signal=INT "$PYTHON" train.py rollout=vllm "rollout.engine.servers=[$(IFS=, && echo "${urls[*]}")]" "$@" &
trainer=$!
while kill -0 "$trainer" 2>/dev/null; do wait "$trainer" || :; done
code=0
wait "$trainer" || code=$?
exit "$code"
