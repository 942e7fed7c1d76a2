"""Rules of conversion, each broken on purpose: the test that stands for it must fail.

A rule whose test passes all the same is not tested, whatever the test is called.
"""

import asyncio
import os
import sys
from pathlib import Path

import msgspec
import pytest

from tests.fixtures.mutant import VARIABLE, Mutant

ROOT = Path(__file__).parents[4]
FAILED = 1  # pytest's exit code for tests that ran and failed
# Without the shared fixtures, whose imports take most of the time: these tests need none of them.
PYTEST = ("-x", "-q", "--noconftest", "-p", "no:cacheprovider", "-p", "tests.fixtures.mutant")
ROUTER = "services.router"
HERE = "tests/unit/router"
ANSWERS = f"{ROUTER}.convert.answers"
OF_ANSWERS = f"{HERE}/convert/answers"
TO_CHAT = f"{ROUTER}.convert.to_chat"
OF_TO_CHAT = f"{HERE}/convert/to_chat"
MUTANTS = {
    "a stream of events is kept apart by their names": Mutant(
        f"{ROUTER}.converting",
        'encoded(event), event["type"])',
        "encoded(event))",
        f"{HERE}/test_passages.py::test_every_event_of_a_converted_stream_has_its_name",
    ),
    "thinking is signed before its block ends": Mutant(
        f"{ANSWERS}.message_blocks",
        'self._delta({"type": "signature_delta", "signature": self._sign("".join(self._thought))})',
        "pass",
        f"{OF_ANSWERS}/test_chat_as_messages.py::test_s_thinking_text_tools_is_the_documented_sequence",
    ),
    "no two calls of an answer have one id": Mutant(
        f"{ANSWERS}.call_blocks",
        "if not said or said in self._ids:",
        "if not said:",
        f"{OF_ANSWERS}/test_chat_as_messages_call_ids.py::test_s_dup_tool_id_becomes_two_ids",
    ),
    "an empty word is no end": Mutant(
        f"{ANSWERS}.chat_as_messages",
        "if choice.finish_reason:",
        "if choice.finish_reason is not None:",
        f"{OF_ANSWERS}/test_chat_as_messages.py::test_s_finish_empty_string_is_no_finish",
    ),
    "an answer that calls ends with tool_use": Mutant(
        f"{ANSWERS}.stop_reasons",
        'if reason in ("end_turn", "tool_use"):',
        'if reason == "tool_use":',
        f"{OF_ANSWERS}/test_chat_as_messages_ends.py::test_s_finish_stop_with_tools_is_tool_use",
    ),
    "a later null takes no figure back": Mutant(
        f"{ANSWERS}.fold_messages",
        "for name, value in fields.items() if value is not None}",
        "for name, value in fields.items()}",
        f"{OF_ANSWERS}/test_fold_messages.py::test_u_message_delta_cumulative_replaces_and_null_says_nothing",
    ),
    "thinking is never part of the text": Mutant(
        f"{ANSWERS}.messages_as_chat",
        'self._send({"reasoning_content": text})',
        'self._send({"content": text})',
        f"{OF_ANSWERS}/test_messages_as_chat.py::test_t_thinking_becomes_reasoning_content",
    ),
    "a call's index counts calls and no other blocks": Mutant(
        f"{ANSWERS}.messages_as_chat",
        'said = {"index": len(self.call_ids) - 1,',
        'said = {"index": index,',
        f"{OF_ANSWERS}/test_messages_as_chat_calls.py::test_t_tool_index_counts_tools_only",
    ),
    "results stand in the order of their calls": Mutant(
        f"{TO_CHAT}.results",
        "found.get(call_id)) for call_id, call in calls.items()]",
        "found.get(call_id)) for call_id, call in sorted(calls.items(), key=lambda one: [*found].index(one[0]))]",
        f"{OF_TO_CHAT}/test_to_chat_results.py::test_tool_result_reorder_follows_the_calls",
    ),
    "one stop sequence is an array too": Mutant(
        f"{TO_CHAT}.sampling",
        'found.fields["stop"] = stops[: profile.max_stop]',
        'found.fields["stop"] = stops[0] if len(stops) == 1 else stops[: profile.max_stop]',
        f"{OF_TO_CHAT}/test_to_chat_fields.py::test_stop_single_is_array",
    ),
    "an effort that is not known is the next one up to high": Mutant(
        f"{TO_CHAT}.thinking",
        'if RANK[word] < RANK[one] <= RANK["high"]]',
        "if RANK[word] < RANK[one]]",
        f"{OF_TO_CHAT}/test_to_chat_thinking.py::test_effort_map",
    ),
    "a thinking budget leaves room for the answer": Mutant(
        f"{ROUTER}.convert.to_messages.thinking",
        "most = cap - max(cap // 4, 1)",
        "most = wanted",
        f"{HERE}/convert/to_messages/test_o_thinking.py"
        "::test_o_reasoning_effort_is_shrunk_into_the_cap_and_never_raises_it",
    ),
    "a signature goes back only with the text that it was made for": Mutant(
        f"{ROUTER}.convert.replay",
        "return sum(part.chars for part in found) == len(text)",
        "return True",
        f"{HERE}/convert/test_replay.py::test_a_text_of_another_length_is_as_unknown",
    ),
    "nobody is given the signatures of another": Mutant(
        f"{ROUTER}.signatures",
        "entry = self._entries.get((owner, key))",
        "entry = next((kept for (_, known), kept in self._entries.items() if known == key), None)",
        f"{HERE}/test_signatures.py::test_nobody_finds_what_another_left",
    ),
    "a conversation that is too long is so in Anthropic's words": Mutant(
        f"{ROUTER}.overflow",
        'return f"prompt is too long: {tokens} tokens > {maximum} maximum"',
        'return f"prompt is too long: {tokens} tokens, {maximum} at most"',
        f"{HERE}/test_overflow.py::test_context_overflow_is_told_in_anthropic_s_words",
    ),
    "a provider's own codes come first": Mutant(
        f"{ROUTER}.refusals",
        "for codes in (errors, PROTOCOL_CODES):",
        "for codes in (PROTOCOL_CODES, errors):",
        f"{HERE}/test_refusals_dialects.py::test_a_code_of_the_catalog_comes_before_those_that_everybody_uses",
    ),
    "thinking that another provider signed is not sent on": Mutant(
        f"{ROUTER}.rewrite_messages",
        "kept = [block for block in blocks if not _is_foreign_thinking(block)]",
        "kept = blocks",
        f"{HERE}/test_rewrite_profiles.py::test_thinking_that_the_provider_did_not_sign_is_left_out_where_it_looks",
    ),
    "a provider's word for a break is no end": Mutant(
        f"{ROUTER}.chat_passage",
        "if choice.finish_reason in refusals.BROKEN_FINISHES:",
        "if choice.finish_reason is refusals.BROKEN_FINISHES:",
        f"{HERE}/test_rows_answers.py::test_r_finish_map_of_a_break_is_an_error",
    ),
    "usage that nobody asked for is not shown": Mutant(
        f"{ROUTER}.telling",
        'del fields["usage"]',
        "pass",
        f"{HERE}/test_rows_streams.py::test_p_usage_injected_and_hidden_wherever_the_provider_puts_it",
    ),
}


@pytest.mark.parametrize("rule", MUTANTS)
async def test_a_broken_rule_is_noticed(rule: str) -> None:
    mutant = MUTANTS[rule]
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "pytest", *PYTEST, mutant.test),
        cwd=ROOT,
        env={**os.environ, VARIABLE: msgspec.json.encode(mutant).decode()},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await process.communicate()
    assert process.returncode == FAILED, said.decode()[-2000:]
