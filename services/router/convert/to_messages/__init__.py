"""An openai_chat request as an anthropic_messages request. Pure."""
