"""SIP as sans-IO state machines: messages, transactions, dialogs, offer/answer, digest, registrar.

Only `udp` owns a socket.
"""
