#!/usr/bin/env python3
"""Anthropic's Python client against a running server: whole and streamed answers, counts, errors.

    anthropic-client.py http://127.0.0.1:8000/v1

Needs the package anthropic. Prints a line a check and exits with 1 when one fails.
"""
import sys

import anthropic

client = anthropic.Anthropic(base_url=sys.argv[1].removesuffix("/v1"), api_key="none", max_retries=0, timeout=120)
question = [{"role": "user", "content": "What is Lockstep?"}]
greedy = {"model": "", "messages": question, "max_tokens": 24, "extra_body": {"temperature": 0}}


def whole_and_streamed_answers_are_equal():
    whole = client.messages.create(**greedy)
    assert whole.type == "message" and whole.role == "assistant" and whole.stop_reason in ("max_tokens", "end_turn")
    assert whole.usage.input_tokens > 0 and 0 < whole.usage.output_tokens <= 24
    with client.messages.stream(**greedy) as stream:
        text = "".join(stream.text_stream)
        final = stream.get_final_message()
    assert text == whole.content[0].text == final.content[0].text and text != ""
    assert final.usage.output_tokens == whole.usage.output_tokens and final.stop_reason == whole.stop_reason


def the_prompt_is_counted():
    counted = client.messages.count_tokens(model="", messages=question)
    assert counted.input_tokens == client.messages.create(**{**greedy, "max_tokens": 1}).usage.input_tokens


def a_stop_sequence_ends_the_answer():
    first = client.messages.create(**greedy).content[0].text.split()[1]
    stopped = client.messages.create(**greedy, stop_sequences=[first])
    assert stopped.stop_reason == "stop_sequence" and stopped.stop_sequence == first


def errors_are_the_clients_own():
    for expected, change in [(anthropic.NotFoundError, {"model": "other"}), (anthropic.BadRequestError, {"max_tokens": 0})]:
        try:
            client.messages.create(**{**greedy, **change})
        except expected as error:
            assert error.body["type"] == "error"
        else:
            raise AssertionError(f"no {expected.__name__}")


failed = False
for check in [
    whole_and_streamed_answers_are_equal,
    the_prompt_is_counted,
    a_stop_sequence_ends_the_answer,
    errors_are_the_clients_own,
]:
    try:
        check()
        print(f"ok: {check.__name__}")
    except Exception as error:
        failed = True
        print(f"FAILED: {check.__name__}: {error!r}")
sys.exit(1 if failed else 0)
