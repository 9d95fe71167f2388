"""SIP as sans-IO state machines: messages, transactions, dialogs, offer/answer, digest, registrar.

Only `edge`, the transports and `resolver` do input and output.
"""
