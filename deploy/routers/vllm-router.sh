#!/bin/sh
# sh deploy/routers/vllm-router.sh: three replicas behind vllm-router (PyPI), which sends a prompt to the replica that has read the most of it.
# A flag given behind it wins: --policy round_robin. A router's health checks are a minute apart unless told.
exec vllm-router --host 0.0.0.0 --port 4000 --policy cache_aware \
  --worker-urls http://lockstep-0:8000 http://lockstep-1:8000 http://lockstep-2:8000 \
  --worker-startup-check-interval 1 \
  --health-check-interval-secs 1 --health-check-timeout-secs 2 --health-failure-threshold 1 --health-success-threshold 1 \
  --retry-max-retries 10 \
  "$@"
