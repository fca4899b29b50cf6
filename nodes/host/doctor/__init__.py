"""What there is on this machine and whether it goes together: the report, warnings before a run.

Nothing is loaded or applied here; what the editor asks comes through nodes/host/routes.py.
"""
