"""Tuning: runs thousands of settings of one rule on recorded occupancies, with the rules' own code.

All times are those at which a message is sent, since those are what people see:

- An alert is *short* when it was over within ``short`` (2 s) of being raised.
- An alert is *again* when the one before it had ended less than ``gap`` (10 s) earlier.
- Each alert that is either is one **flap**.

What a setting should detect: with labels the labelled *events*. Without labels the *occasions* for which the
rule raises alerts as it is set now, those less than ``gap`` apart taken as one. Then the rule itself is the
reference, and a setting can be calmer or quicker, but not more accurate.

- An alert is about an event when its condition began in it or shortly before: 2 s, without labels ``gap``.
- **Delay** of an event is from its beginning to the message of its first alert, never less than 0.
- An event without an alert is **missed**; recall is the share of events that are not missed.
- An alert about no event is **extra**; precision is the share of alerts that are not extra.
"""
