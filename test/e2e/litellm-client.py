#!/usr/bin/env python3
"""LiteLLM's SDK against a running server, by its routes for OpenAI-compatible servers and for vLLM: chats, streams, tools, structured output,
completions, responses, errors; of a model that gives vectors, embeddings and reranking.

    litellm-client.py http://127.0.0.1:8000/v1

Needs the package litellm. Prints a line a check and exits with 1 when one fails.
"""
import json
import os
import sys
import urllib.request

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # nothing is fetched from elsewhere

import litellm

litellm.suppress_debug_info = True

base_url = sys.argv[1]
with urllib.request.urlopen(base_url + "/models") as answer:
    model = json.load(answer)["data"][0]["id"]
with urllib.request.urlopen(base_url.removesuffix("/v1") + "/get_model_info") as answer:
    generates = json.load(answer)["is_generation"]

server = {"api_base": base_url, "api_key": "none", "num_retries": 0, "timeout": 120}
question = [{"role": "user", "content": "What is Lockstep?"}]
providers = ["openai", "hosted_vllm"]
tool = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "the weather of a city",
        "parameters": {"type": "object", "properties": {"city": {"type": "string", "maxLength": 12}}, "required": ["city"]},
    },
}


def chat(provider, messages=question, **more):
    return litellm.completion(**{**server, "model": f"{provider}/{model}", "messages": messages, "temperature": 0, "max_tokens": 24, **more})


def whole_and_streamed_answers_are_equal(provider):
    whole = chat(provider)
    chunks = list(chat(provider, stream=True, stream_options={"include_usage": True}))
    built = litellm.stream_chunk_builder(chunks, messages=question)
    assert whole.choices[0].message.content == built.choices[0].message.content != ""
    assert whole.choices[0].finish_reason == built.choices[0].finish_reason
    assert 0 < whole.usage.completion_tokens == built.usage.completion_tokens
    assert 0 < whole.usage.prompt_tokens == built.usage.prompt_tokens


def a_tool_is_called_and_its_result_goes_back(provider):
    forced = {"tools": [tool], "tool_choice": "required", "parallel_tool_calls": False, "max_tokens": 100}
    answer = chat(provider, **forced)
    (call,) = answer.choices[0].message.tool_calls
    assert answer.choices[0].finish_reason == "tool_calls" and call.function.name == "weather"
    assert len(json.loads(call.function.arguments)["city"]) <= 12
    result = {"role": "tool", "tool_call_id": call.id, "content": "21 degrees"}
    chat(provider, messages=[*question, answer.choices[0].message, result], tools=[tool], tool_choice="none")
    built = litellm.stream_chunk_builder(list(chat(provider, stream=True, **forced)), messages=question)
    assert built.choices[0].message.tool_calls[0].function.arguments == call.function.arguments


def structured_output_is_of_its_schema(provider):
    schema = {"type": "object", "properties": {"kind": {"enum": ["port", "capital"]}}, "required": ["kind"], "additionalProperties": False}
    form = {"type": "json_schema", "json_schema": {"name": "city", "strict": True, "schema": schema}}
    assert json.loads(chat(provider, response_format=form, max_tokens=200).choices[0].message.content)["kind"] in ("port", "capital")


def logprobs_and_choices(provider):
    answer = chat(provider, n=2, logprobs=True, top_logprobs=2, temperature=1, seed=3)
    for choice in answer.choices:
        assert all(token.logprob <= 0 and len(token.top_logprobs) == 2 for token in choice.logprobs.content)
    assert len(answer.choices) == 2


def errors_are_litellms_own(provider):
    def refused(kind, **change):
        try:
            chat(provider, **change)
        except kind:
            return
        raise AssertionError(f"{change}: no {kind.__name__}")

    refused(litellm.BadRequestError, temperature=9)
    refused(litellm.NotFoundError, model=f"{provider}/none")
    refused(litellm.ContextWindowExceededError, messages=[{"role": "user", "content": "word " * 100_000}])


def completions_whole_and_streamed():
    asked = {**server, "model": f"text-completion-openai/{model}", "prompt": "Lockstep is", "max_tokens": 8, "temperature": 0}
    whole = litellm.text_completion(**asked).choices[0].text
    streamed = "".join(chunk.choices[0].text or "" for chunk in litellm.text_completion(**asked, stream=True))
    assert whole == streamed != ""


def responses_whole_and_streamed():
    asked = {**server, "model": f"openai/{model}", "input": "What is Lockstep?", "max_output_tokens": 24, "temperature": 0}
    whole = litellm.responses(**asked)
    events = list(litellm.responses(**asked, stream=True))
    assert events[-1].type == "response.completed" or events[-1].type == "response.incomplete"
    text = "".join(event.delta for event in events if event.type == "response.output_text.delta")
    assert whole.output[-1].content[0].text == text != ""


def anthropic_messages():
    asked = {"model": f"anthropic/{model}", "messages": question, "max_tokens": 24, "temperature": 0}
    answer = litellm.completion(**{**server, "api_base": base_url.removesuffix("/v1")}, **asked)
    assert answer.choices[0].message.content == chat("openai").choices[0].message.content


def embeddings():
    for provider in providers:
        answer = litellm.embedding(**server, model=f"{provider}/{model}", input=["the river", "The old mill"])
        assert [entry["index"] for entry in answer.data] == [0, 1] and len(answer.data[0]["embedding"]) > 0


def reranking():
    documents = ["The old mill stands near the river bank.", "the river"]
    answer = litellm.rerank(**{**server, "api_base": base_url.removesuffix("/v1")}, model=f"hosted_vllm/{model}", query="the river", documents=documents)
    assert answer.results[0]["index"] == 1


with_provider = [
    whole_and_streamed_answers_are_equal,
    a_tool_is_called_and_its_result_goes_back,
    structured_output_is_of_its_schema,
    logprobs_and_choices,
    errors_are_litellms_own,
]
alone = [completions_whole_and_streamed, responses_whole_and_streamed, anthropic_messages]
checks = [(check, [provider]) for provider in providers for check in with_provider] + [(check, []) for check in alone]
failed = False
for check, given in checks if generates else [(embeddings, []), (reranking, [])]:
    name = f"{check.__name__.replace('_', ' ')} {' '.join(given)}"
    try:
        check(*given)
        print(f"ok: {name}", flush=True)
    except Exception as error:  # every kind of failure is a line, and the next check goes on
        failed = True
        print(f"FAILED: {name}: {error!r}", flush=True)
sys.exit(1 if failed else 0)
