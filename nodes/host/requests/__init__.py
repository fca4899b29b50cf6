"""A request of the editor before and after its answer: who asks, how much, when, and what is shown.

Nothing here knows what is answered; nodes/host/server.py puts the parts together.
"""
