"""How strong a reference is: texts of weights, presets, schedules, and the layers they name.

Masks are in ip_models/attention, the widgets in web/.
"""
