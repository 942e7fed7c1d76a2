"""How long a request may be: its output by model, and its context, in each vendor's words."""

from typing import Final

from deploy.demo.provider.ask import Ask
from deploy.demo.provider.profiles import Profile
from deploy.demo.provider.refusals import Refusal
from deploy.demo.provider.rules import ChatRules, MessagesRules, cap_of
from libs.protocols import ANTHROPIC_MESSAGES

_LONG: Final = 1_000_000


def check(ask: Ask, profile: Profile, context: int | None = None) -> None:
    """``context`` takes the place of the row's number of tokens. Raises Refusal."""
    if ask.protocol == ANTHROPIC_MESSAGES:
        _check_messages(ask, profile.messages, context)
    else:
        _check_chat(ask, profile.chat, context)


def _check_chat(ask: Ask, rules: ChatRules, context: int | None) -> None:
    cap, limit = ask.max_tokens or 0, cap_of(rules.caps, ask.model)
    if limit is not None and cap > limit:
        raise Refusal(400, rules.say("cap", cap=cap, limit=limit), param="max_tokens")
    prompt, most = ask.sizes.total, context or rules.context_tokens
    total = prompt + cap if rules.output_in_context else prompt
    if most and total > most:
        sentence = rules.say("context", limit=most, prompt=prompt, cap=cap, total=total)
        raise Refusal(400, sentence, param="messages", code=rules.codes.get("context"))


def _check_messages(ask: Ask, rules: MessagesRules, context: int | None) -> None:
    cap, limit = ask.max_tokens or 0, cap_of(rules.caps, ask.model)
    if limit is not None and cap > limit:
        told = f"max_tokens: {cap} > {limit}, which is the maximum allowed number of output tokens for {ask.model}"
        raise Refusal(400, told)
    prompt = ask.sizes.total
    most = context or (_LONG if rules.long_beta in ask.betas else rules.context_tokens)
    if most and prompt > most:
        raise Refusal(400, f"prompt is too long: {prompt} tokens > {most} maximum")
    if most and prompt + cap > most:
        told = f"input length and `max_tokens` exceed context limit: {prompt} + {cap} > {most}"
        raise Refusal(400, f"{told}, decrease input length or `max_tokens` and try again")
