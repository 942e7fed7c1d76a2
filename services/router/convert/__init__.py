"""From one protocol to the other: requests, answers, streams. Pure: values in, values out.

`FIELDS.md` beside this file says what becomes of every field.
"""
