"""Thousands of settings of one rule tried on what its zone showed, by the rules' own code.

What is counted, in times at which a message is sent, for that is what people see:

- An alert is *short* when it was over within ``short`` (2 s) of being raised.
- An alert is *again* when the one before it had ended less than ``gap`` (10 s) earlier.
- Each alert that is either is one **flap**.

What should be told: with labels the labelled *events*. Without any the *occasions* that the rule as it is set
now raises alerts for, those less than ``gap`` apart taken for one: then nobody but the rule itself says what
is right, and a setting can only be calmer or quicker, not righter.

- An alert is about an event when its condition began in it or shortly before: 2 s, without labels ``gap``.
- **Delay** of an event is from its beginning to the message of its first alert, never less than 0.
- An event without an alert is **missed**; recall is the share of events that are not missed.
- An alert about no event is **extra**; precision is the share of alerts that are not extra.
"""
