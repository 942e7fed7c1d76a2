"""An anthropic_messages request as an openai_chat request. Pure."""
