#!/usr/bin/env python3
"""GuideLLM against a running server: every chat is answered with as many tokens as it asked for.

    load-client.py MODEL_FOLDER http://127.0.0.1:8000/v1

Needs the package guidellm, whose command lies beside this Python. MODEL_FOLDER has the tokenizer that prompts are made with.
"""
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

folder, base_url = sys.argv[1:]
num_requests, output_len = 32, 16
with tempfile.TemporaryDirectory() as reports:
    report = Path(reports) / "report.json"
    arguments = {
        "target": base_url.removesuffix("/v1"),
        "rate-type": "concurrent",
        "rate": "8",
        "max-requests": str(num_requests),
        "data": f"prompt_tokens=64,output_tokens={output_len}",
        "processor": folder,
        "output-path": str(report),
    }
    command = [str(Path(sys.executable).parent / "guidellm"), "benchmark", "run", "--disable-progress", "--disable-console-outputs"]
    command += [f"--{name}={value}" for name, value in arguments.items()]
    environment = {**os.environ, "GUIDELLM__PREFERRED_ROUTE": "chat_completions", "HF_HUB_OFFLINE": "1"}
    subprocess.run(command, check=True, env=environment)
    measured = json.loads(report.read_text())["benchmarks"][0]

made = measured["run_stats"]["requests_made"]
lengths = {request["output_tokens"] for request in measured["requests"]["successful"]}
first = measured["metrics"]["time_to_first_token_ms"]["successful"]["median"]
print(f"{made}, {lengths} tokens each, first token after {first:.0f} ms (median)")
if (made["successful"], made["errored"], lengths) != (num_requests, 0, {output_len}):
    sys.exit("not as asked")
