#!/usr/bin/env python3
"""The official Python client against a running server: streams, whole answers, errors, aborts, timeouts, 256 requests at once; of a model that
gives vectors, its embeddings.

    python-client.py http://127.0.0.1:8000/v1

Needs the package openai. Prints a line a check and exits with 1 when one fails.
"""
import asyncio
import json
import sys
import time
import urllib.request

import openai

base_url = sys.argv[1]
client = openai.OpenAI(base_url=base_url, api_key="none", max_retries=0, timeout=120)
model = client.models.list().data[0].id
question = [{"role": "user", "content": "What is Lockstep?"}]
greedy = {"model": model, "messages": question, "temperature": 0, "max_tokens": 24}


def metric(name):
    """Value of a gauge without its labels."""
    with urllib.request.urlopen(base_url.removesuffix("/v1") + "/metrics") as answer:
        lines = answer.read().decode().splitlines()
    return float(next(line for line in lines if line.startswith(name)).split()[-1])


def wait_until_idle(seconds):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if metric("vllm:num_requests_running") == 0 and metric("vllm:num_requests_waiting") == 0:
            return
        time.sleep(0.05)
    raise AssertionError("requests were still running")


def whole_and_streamed_answers_are_equal():
    whole = client.chat.completions.create(**greedy)
    assert whole.object == "chat.completion" and whole.model == model and whole.choices[0].message.role == "assistant"
    assert whole.usage.total_tokens == whole.usage.prompt_tokens + whole.usage.completion_tokens
    chunks = list(client.chat.completions.create(**greedy, stream=True, stream_options={"include_usage": True}))
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == whole.choices[0].message.content and text != ""
    assert chunks[0].choices[0].delta.role == "assistant"
    reasons = [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices]
    assert [reason for reason in reasons if reason] == [whole.choices[0].finish_reason]
    assert chunks[-1].choices == [] and chunks[-1].usage == whole.usage


def completions_echo_and_logprobs():
    asked = {"model": model, "prompt": "Lockstep is", "max_tokens": 4, "temperature": 0}
    answer = client.completions.create(**asked, echo=True, logprobs=2).choices[0]
    assert answer.text.startswith("Lockstep is")
    assert answer.logprobs.token_logprobs[0] is None and "".join(answer.logprobs.tokens) == answer.text
    streamed = "".join(chunk.choices[0].text for chunk in client.completions.create(**asked, stream=True) if chunk.choices)
    assert answer.text == "Lockstep is" + streamed


def chat_logprobs_and_choices():
    answer = client.chat.completions.create(**{**greedy, "temperature": 1, "seed": 5}, n=3, logprobs=True, top_logprobs=2)
    assert [choice.index for choice in answer.choices] == [0, 1, 2]
    for choice in answer.choices:
        assert all(len(token.top_logprobs) >= 2 and token.logprob <= 0 for token in choice.logprobs.content)
    again = client.chat.completions.create(**{**greedy, "temperature": 1, "seed": 5}, n=3)
    assert [choice.message.content for choice in again.choices] == [choice.message.content for choice in answer.choices]


def errors_have_the_clients_own_classes():
    def refused(error_class, code, param, **changes):
        try:
            client.chat.completions.create(**{**greedy, **changes})
        except error_class as error:
            assert error.code == code and (param is None or error.param == param), (error.code, error.param)
            return
        raise AssertionError(f"{changes} was not refused with {error_class.__name__}")

    refused(openai.NotFoundError, "model_not_found", "model", model="no-such-model")
    refused(openai.BadRequestError, None, "temperature", temperature=3)
    refused(openai.BadRequestError, None, None, messages=[])
    refused(openai.BadRequestError, "context_length_exceeded", None, messages=[{"role": "user", "content": "word " * 100_000}])
    refused(openai.BadRequestError, None, None, extra_body={"no_such_field": 1})
    assert client.models.retrieve(model).id == model


def an_abandoned_stream_frees_its_place():
    long = {**greedy, "max_tokens": None, "extra_body": {"ignore_eos": True}}
    del long["max_tokens"]
    stream = client.chat.completions.create(**long, stream=True)
    next(iter(stream))
    stream.close()
    wait_until_idle(10)


def a_timeout_is_the_clients_and_the_server_goes_on():
    long = {key: value for key, value in greedy.items() if key != "max_tokens"}
    try:
        client.with_options(timeout=0.02).chat.completions.create(**long, extra_body={"ignore_eos": True})
    except openai.APITimeoutError:
        wait_until_idle(10)
        assert client.chat.completions.create(**greedy).choices[0].message.content
        return
    raise AssertionError("a whole context was generated in 20 ms")


def many_at_once_equal_one_alone():
    alone = client.chat.completions.create(**greedy).choices[0].message.content

    async def run():
        many = openai.AsyncOpenAI(base_url=base_url, api_key="none", max_retries=0, timeout=300)
        answers = await asyncio.gather(*(many.chat.completions.create(**greedy) for _ in range(256)))
        await many.close()
        return [answer.choices[0].message.content for answer in answers]

    contents = asyncio.run(run())
    assert len(contents) == 256 and all(content == alone for content in contents), "an answer depended on the batch"


def embeddings_in_base64_and_as_floats_are_equal():
    texts = ["the river", "The old mill stands near the river bank.", ""]
    packed = client.embeddings.create(model=model, input=texts)  # the client asks for base64 and decodes it
    plain = client.embeddings.create(model=model, input=texts, encoding_format="float")
    assert [entry.index for entry in packed.data] == [0, 1, 2]
    assert [entry.embedding for entry in packed.data] == [entry.embedding for entry in plain.data]
    assert packed.usage.prompt_tokens == packed.usage.total_tokens == plain.usage.prompt_tokens > 0
    alone = client.embeddings.create(model=model, input=texts[1]).data[0].embedding
    assert alone == packed.data[1].embedding, "an embedding depended on the batch"


def what_an_embedding_model_cannot_do_is_refused():
    for ask in (
        lambda: client.embeddings.create(model=model, input=[]),
        lambda: client.embeddings.create(model=model, input="word " * 10_000),
        lambda: client.chat.completions.create(**greedy),
    ):
        try:
            ask()
        except openai.BadRequestError:
            continue
        raise AssertionError("was answered")


def generates():
    with urllib.request.urlopen(base_url.removesuffix("/v1") + "/get_model_info") as answer:
        return json.load(answer)["is_generation"]


text_checks = [
    whole_and_streamed_answers_are_equal,
    completions_echo_and_logprobs,
    chat_logprobs_and_choices,
    errors_have_the_clients_own_classes,
    an_abandoned_stream_frees_its_place,
    a_timeout_is_the_clients_and_the_server_goes_on,
    many_at_once_equal_one_alone,
]
vector_checks = [embeddings_in_base64_and_as_floats_are_equal, what_an_embedding_model_cannot_do_is_refused]
checks = text_checks if generates() else vector_checks
failed = 0
for check in checks:
    start = time.monotonic()
    try:
        check()
        outcome = "ok"
    except Exception as error:  # every kind of failure is a line, and the next check goes on
        failed += 1
        outcome = f"FAILED: {type(error).__name__}: {error}"
    print(f"{check.__name__.replace('_', ' ')}: {outcome} ({time.monotonic() - start:.1f} s)", flush=True)
print(f"{len(checks) - failed} passed, {failed} failed")
sys.exit(1 if failed else 0)
