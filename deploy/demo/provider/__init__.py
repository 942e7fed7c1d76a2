"""A provider of language models that speaks both protocols and does on cue what real ones do at bad times."""
